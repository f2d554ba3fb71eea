BEGIN TRANSACTION;
CREATE TABLE api_key (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    limits TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    used_at DOUBLE PRECISION,
    revoked_at DOUBLE PRECISION
);
INSERT INTO "api_key" VALUES('key_03084c27bae86155','ann','rg_fLuzO','dc13dd4f59d1bd7944c9ec52da20fb16700b1f730510809e070f0ea34d9d24ae','{"max_pixels": null, "max_frames": null, "max_steps": null, "max_jobs": null, "max_gpu_s_per_day": null}',1.79541940900699496267e+09,NULL,NULL);
CREATE TABLE job (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('video', 'image')),
    owner TEXT NOT NULL,
    model TEXT NOT NULL,
    request TEXT NOT NULL,
    phase TEXT NOT NULL CHECK (phase IN ('waiting', 'running', 'paused', 'completed', 'failed')),
    stage TEXT,
    step INTEGER NOT NULL,
    num_steps INTEGER NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    started_at DOUBLE PRECISION,
    ended_at DOUBLE PRECISION,
    expires_at DOUBLE PRECISION,
    waiting_since DOUBLE PRECISION NOT NULL,
    priority INTEGER NOT NULL,
    deadline_at DOUBLE PRECISION,
    estimate_s DOUBLE PRECISION NOT NULL,
    memory_gib DOUBLE PRECISION NOT NULL,
    clip_s DOUBLE PRECISION NOT NULL,
    needs_trust BOOLEAN NOT NULL,
    retain_s DOUBLE PRECISION,
    turn_s DOUBLE PRECISION NOT NULL,
    rank DOUBLE PRECISION NOT NULL,
    epoch INTEGER NOT NULL,
    losses INTEGER NOT NULL,
    furthest INTEGER NOT NULL,
    worker TEXT,
    lease_until DOUBLE PRECISION,
    wanted TEXT CHECK (wanted IN ('cancel', 'pause', 'yield')),
    yields_for TEXT,
    reason TEXT,
    error_code TEXT,
    error_message TEXT,
    states TEXT NOT NULL,
    preview TEXT,
    files TEXT NOT NULL,
    has_files BOOLEAN NOT NULL,
    inputs TEXT NOT NULL,
    remixed_from TEXT,
    extended_from TEXT,
    idempotency_key TEXT,
    body_digest TEXT,
    webhook TEXT,
    gpu_s DOUBLE PRECISION NOT NULL,
    metered_at DOUBLE PRECISION,
    charged_s DOUBLE PRECISION NOT NULL,
    is_deleted BOOLEAN NOT NULL,
    CHECK ((phase = 'running') = (worker IS NOT NULL)),
    CHECK ((phase = 'running') = (lease_until IS NOT NULL)),
    CHECK ((phase IN ('completed', 'failed')) = (ended_at IS NOT NULL)),
    CHECK ((phase = 'failed') = (error_code IS NOT NULL)),
    CHECK (wanted IS NULL OR phase = 'running')
);
INSERT INTO "job" VALUES('video_3e2bf18d976bad35c7cc465f','video','ann','tiny','{"prompt": "clip 1"}','completed','denoise',10,10,1.79541940891799926762e+09,1.79541940894101262086e+09,1.7954194089320003986e+09,1.79541940894101262086e+09,NULL,1.79541940894101262086e+09,1,NULL,10.0,1.0,0.0,0,NULL,1.79541940891799926762e+09,1.79542034891799926754e+09,1,0,3000004,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]',NULL,'{"video": "made/one.mp4"}',1,'[]',NULL,NULL,NULL,NULL,NULL,9.0122222900390625e-03,NULL,4.0233135223388671875e-03,0);
INSERT INTO "job" VALUES('video_154ec492a83f4645bf0f468f','video','ann','tiny','{"prompt": "clip 2"}','failed',NULL,0,10,1.79541940897798681263e+09,1.79541940898599338533e+09,1.79541940898201012608e+09,1.79541940898599338533e+09,NULL,1.79541940898599338533e+09,1,NULL,10.0,1.0,0.0,0,NULL,1.79541940897798681263e+09,1.79542034897798681255e+09,1,0,0,NULL,NULL,NULL,NULL,NULL,'generation_failed','a fault','[]',NULL,'{}',0,'[]',NULL,NULL,NULL,NULL,NULL,3.9832592010498046875e-03,NULL,3.9832592010498046875e-03,0);
INSERT INTO "job" VALUES('video_9ffc5f22e7ebc9e589990901','video','ann','tiny','{"prompt": "clip 3"}','paused',NULL,0,10,1.79541940898800492284e+09,1.7954194089919879437e+09,NULL,NULL,NULL,1.79541940898800492284e+09,1,NULL,10.0,1.0,0.0,0,NULL,1.79541940898800492284e+09,1.79542034898800492289e+09,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]',NULL,'{}',0,'[]',NULL,NULL,NULL,NULL,NULL,0.0,NULL,0.0,0);
INSERT INTO "job" VALUES('video_e8754e36d87e7e245e1920ff','video','ann','tiny','{"prompt": "clip 4"}','running','denoise',7,10,1.79541940899399971964e+09,1.79541940899999427792e+09,1.79541940899701714514e+09,NULL,NULL,1.79541940899399971964e+09,1,NULL,10.0,1.0,0.0,0,NULL,1.79541941898800492291e+09,1.79542035898800492283e+09,1,0,3000007,'w1',1.79541940900999426843e+09,NULL,NULL,NULL,NULL,NULL,'[["states/4", 7]]',NULL,'{}',0,'[]',NULL,NULL,NULL,NULL,NULL,2.9771327972412109375e-03,1.79541940899999427792e+09,2.9771327972412109375e-03,0);
INSERT INTO "job" VALUES('video_c045fd40e53045579a5337dc','video','ann','tiny','{"prompt": "clip 5"}','waiting',NULL,0,10,1.795419409001000166e+09,1.795419409001000166e+09,NULL,NULL,NULL,1.795419409001000166e+09,1,NULL,10.0,1.0,0.0,0,NULL,1.79541942898800492285e+09,1.79542036898800492291e+09,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]',NULL,'{}',0,'[]',NULL,NULL,NULL,NULL,'https://example.org/told',0.0,NULL,0.0,0);
CREATE TABLE notice (
    job TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    event TEXT NOT NULL,
    url TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    due_at DOUBLE PRECISION NOT NULL,
    num_attempts INTEGER NOT NULL
);
CREATE TABLE profile (
    machine TEXT NOT NULL,
    model TEXT NOT NULL,
    workload TEXT NOT NULL,
    part TEXT NOT NULL,
    num INTEGER NOT NULL,
    mean_log DOUBLE PRECISION NOT NULL,
    squares_log DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (machine, model, workload, part)
);
INSERT INTO "profile" VALUES('cpu','tiny','8x8x1','step',1,-2.302585092994045457e+00,0.0);
CREATE TABLE schema_version (version INTEGER NOT NULL);
INSERT INTO "schema_version" VALUES(1);
CREATE TABLE tally (
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    bound TEXT NOT NULL,
    num INTEGER NOT NULL,
    total DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (name, label, bound)
);
INSERT INTO "tally" VALUES('submitted','tiny','inf',5,5.0);
INSERT INTO "tally" VALUES('wait_s','tiny','0.03',1,1.40011310577392578125e-02);
INSERT INTO "tally" VALUES('saves','tiny','inf',2,2.0);
INSERT INTO "tally" VALUES('clip_s','tiny','0.01',1,0.0);
INSERT INTO "tally" VALUES('completed','tiny','inf',1,1.0);
INSERT INTO "tally" VALUES('gpu_s','tiny','0.01',1,9.0122222900390625e-03);
INSERT INTO "tally" VALUES('turnaround_s','tiny','0.03',1,2.30133533477783203125e-02);
INSERT INTO "tally" VALUES('step_s','tiny','0.1',1,0.1);
INSERT INTO "tally" VALUES('wait_s','tiny','0.01',2,7.0407390594482421875e-03);
INSERT INTO "tally" VALUES('failed','generation_failed','inf',1,1.0);
CREATE TABLE usage (
    owner TEXT NOT NULL,
    day INTEGER NOT NULL,
    gpu_s DOUBLE PRECISION NOT NULL,
    num_jobs INTEGER NOT NULL,
    PRIMARY KEY (owner, day)
);
INSERT INTO "usage" VALUES('ann',20780,1.5972614288330078125e-02,5);
CREATE TABLE worker (
    id TEXT NOT NULL PRIMARY KEY,
    machine TEXT NOT NULL,
    memory_gib DOUBLE PRECISION NOT NULL,
    models TEXT,
    warm_models TEXT NOT NULL,
    load_s DOUBLE PRECISION NOT NULL,
    is_trusted BOOLEAN NOT NULL,
    seen_at DOUBLE PRECISION NOT NULL,
    job TEXT
);
INSERT INTO "worker" VALUES('w1','cpu',8.0,NULL,'[]',0.0,1,1.79541940899798274037e+09,'video_e8754e36d87e7e245e1920ff');
CREATE INDEX job_waiting ON job (rank, id) WHERE phase = 'waiting';
CREATE INDEX job_waiting_model ON job (model, rank, id) WHERE phase = 'waiting';
CREATE INDEX job_lease ON job (lease_until) WHERE phase = 'running';
CREATE INDEX job_turn ON job (owner, turn_s) WHERE phase IN ('paused', 'running', 'waiting');
CREATE INDEX job_list ON job (created_at, id);
CREATE INDEX job_list_owner ON job (owner, created_at, id);
CREATE UNIQUE INDEX job_idempotency ON job (owner, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX job_files ON job (ended_at) WHERE has_files;
CREATE INDEX notice_due ON notice (due_at);
COMMIT;

"""Webhooks against the queue over both databases, a real server, and the openai package as judge."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from openai import InvalidWebhookSignatureError, OpenAI

from reelgrid.jobs import webhooks
from reelgrid.jobs.accounting import OutboxEntry
from reelgrid.jobs.webhooks import WebhookSender
from tests.jobs.builders import new_job, new_worker
from tests.jobs.receiver import receiving

MASTER = bytes(range(32))
ENTRY = OutboxEntry(
    job="video_0123",
    owner="ann",
    event="video.completed",
    url="http://hooks.example/",
    created_at=1_800_000_000.5,
    num_attempts=1,
)


@pytest.fixture
def receiver():
    with receiving() as found:
        yield found


@pytest.fixture
def sender(job_queue):
    return WebhookSender(job_queue, MASTER, allows_private=True, timeout_s=2.0)


def send_due(sender):
    """Make one attempt for each webhook that is due; return how many."""
    with ThreadPoolExecutor(8) as senders:
        attempts = sender.start_due(senders, 8)
        for each in attempts:
            each.result()
    return len(attempts)


def completed(job_queue, url, **values):
    job = job_queue.submit(new_job(webhook=url, **values))
    claim = job_queue.claim(new_worker())
    assert claim.id == job.id
    return job_queue.finish(claim, {"video": f"{job.id}/video.mp4"})


def unwrap(received, owner="ann"):
    _, headers, body = received
    client = OpenAI(api_key="none", base_url="http://127.0.0.1")
    return client.webhooks.unwrap(body, headers, secret=webhooks.webhook_secret(MASTER, owner))


def test_a_finished_job_is_sent_once_and_the_openai_package_reads_it(job_queue, receiver, sender):
    job = completed(job_queue, receiver.url)
    assert send_due(sender) == 1
    assert send_due(sender) == 0
    (received,) = receiver.received
    event = unwrap(received)
    assert event.type == "video.completed"
    assert event.object == "event"
    assert event.created_at == int(job.ended_at)
    assert event.data.id == job.id


def test_a_failed_job_is_sent_too(job_queue, receiver, sender):
    job = job_queue.submit(new_job(webhook=receiver.url))
    job_queue.cancel(job.id)
    send_due(sender)
    assert unwrap(receiver.received[0]).type == "video.failed"


def test_a_body_that_was_changed_or_another_keys_secret_is_not_accepted(
    job_queue, receiver, sender
):
    completed(job_queue, receiver.url)
    send_due(sender)
    path, headers, body = receiver.received[0]
    with pytest.raises(InvalidWebhookSignatureError):
        unwrap((path, headers, body.replace(b"completed", b"Completed")))
    with pytest.raises(InvalidWebhookSignatureError):
        unwrap((path, headers, body), owner="bob")
    with pytest.raises(InvalidWebhookSignatureError):
        unwrap((path, headers | {"webhook-timestamp": "1"}, body))


def test_the_signature_is_that_of_the_specification():
    # The example of https://www.standardwebhooks.com and its reference libraries.
    headers = webhooks.signed_headers(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        1_614_265_330.9,
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers["webhook-timestamp"] == "1614265330"


def test_a_refused_webhook_is_retried_by_the_schedule_with_the_same_id(
    job_queue, clock, receiver, sender
):
    receiver.answers = [500]
    completed(job_queue, receiver.url)
    for wait_s in webhooks.RETRY_IN_S:
        assert send_due(sender) == 1
        clock.move(wait_s - 1)
        assert send_due(sender) == 0
        clock.move(1.5)
    assert send_due(sender) == 1
    clock.move(1e6)
    assert send_due(sender) == 0  # given up
    assert len(receiver.received) == len(webhooks.RETRY_IN_S) + 1
    assert len({headers["webhook-id"] for _, headers, _ in receiver.received}) == 1


def test_a_receiver_that_is_back_gets_it(job_queue, clock, receiver, sender):
    receiver.answers = [503, 204]
    completed(job_queue, receiver.url)
    send_due(sender)
    clock.move(10)
    send_due(sender)
    clock.move(1e6)
    assert send_due(sender) == 0
    assert len(receiver.received) == 2


@pytest.mark.parametrize("answer", [410])
def test_a_receiver_that_wants_no_more_gets_no_more(job_queue, clock, receiver, sender, answer):
    receiver.answers = [answer]
    completed(job_queue, receiver.url)
    send_due(sender)
    clock.move(1e6)
    assert send_due(sender) == 0


def test_a_sender_that_dies_before_it_has_noted_the_answer_sends_again(job_queue, clock, receiver):
    """Delivery is at least once: the receiver recognizes the repetition by the id."""
    completed(job_queue, receiver.url)
    assert len(job_queue.claim_outbox()) == 1  # and it dies
    sender = WebhookSender(job_queue, MASTER, allows_private=True)
    assert send_due(sender) == 0
    clock.move(1_000)
    assert send_due(sender) == 1
    assert len(receiver.received) == 1


def test_two_senders_never_have_the_same_entry(job_queue, receiver):
    for _ in range(6):
        completed(job_queue, receiver.url)
    senders = [
        threading.Thread(
            target=send_due, args=(WebhookSender(job_queue, MASTER, allows_private=True),)
        )
        for _ in range(2)
    ]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    told = [json.loads(body)["data"]["id"] for _, _, body in receiver.received]
    assert len(told) == len(set(told)) == 6


def test_an_address_that_is_not_public_is_given_up_and_nothing_is_sent(job_queue, clock, receiver):
    completed(job_queue, receiver.url)
    assert send_due(WebhookSender(job_queue, MASTER)) == 1
    clock.move(1e6)
    assert send_due(WebhookSender(job_queue, MASTER)) == 0
    assert receiver.received == []


def test_a_slow_receiver_holds_one_sender_and_the_others_go_on(job_queue, receiver, monkeypatch):
    """One attempt hangs until the test ends it; meanwhile the others deliver three webhooks per sender."""
    stop, hung = threading.Event(), threading.Event()
    sender = WebhookSender(job_queue, MASTER, allows_private=True)
    really_attempt = sender._attempt

    def attempt(entry):
        if entry.url.endswith("/slow"):
            assert hung.wait(60)
        return really_attempt(entry)

    monkeypatch.setattr(sender, "_attempt", attempt)
    completed(job_queue, f"http://127.0.0.1:{receiver.port}/slow")
    for _ in range(24):
        completed(job_queue, receiver.url)
    thread = threading.Thread(target=sender.run, args=(stop,), kwargs={"every_s": 0.01})
    thread.start()
    until = time.monotonic() + 30
    while len(receiver.received) < 24 and time.monotonic() < until:
        time.sleep(0.01)
    paths = [path for path, _, _ in receiver.received]
    stop.set()
    hung.set()
    thread.join()
    assert len(paths) == 24
    assert "/slow" not in paths
    assert receiver.received[-1][0] == "/slow"


def test_one_receiver_that_hangs_does_not_hold_up_the_others(job_queue, receiver):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        completed(job_queue, f"http://127.0.0.1:{silent.getsockname()[1]}/")
        completed(job_queue, receiver.url)
        send_due(WebhookSender(job_queue, MASTER, allows_private=True, timeout_s=2.0))
    assert len(receiver.received) == 1


def test_the_thread_sends_until_it_is_stopped(job_queue, receiver, sender):
    stop = threading.Event()
    thread = threading.Thread(target=sender.run, args=(stop,), kwargs={"every_s": 0.01})
    thread.start()
    completed(job_queue, receiver.url)
    until = time.monotonic() + 20
    while not receiver.received and time.monotonic() < until:
        time.sleep(0.01)
    stop.set()
    thread.join()
    assert len(receiver.received) == 1


def test_logs_hold_no_secret_of_an_address(job_queue, receiver, sender, caplog):
    caplog.set_level("DEBUG")
    receiver.answers = [500]
    completed(job_queue, receiver.url)
    send_due(sender)
    assert "the answer was 500" in caplog.text
    assert "token=secret" not in caplog.text
    assert "whsec_" not in caplog.text


def test_secrets_differ_by_key_and_by_server_and_are_always_the_same(tmp_path):
    master = webhooks.read_master_key(tmp_path / "data")
    assert webhooks.read_master_key(tmp_path / "data") == master
    assert len(master) == 32
    assert (tmp_path / "data" / "webhook.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["webhook.key"]
    owners = {
        webhooks.webhook_secret(key, owner) for key in (master, MASTER) for owner in ("a", "b")
    }
    assert len(owners) == 4


def test_many_who_ask_first_get_the_same(tmp_path):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(webhooks.read_master_key(tmp_path)))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len(set(found)) == 1


def test_the_event_is_the_same_at_every_attempt():
    again = type(ENTRY)(**{**{f: getattr(ENTRY, f) for f in ENTRY.__slots__}, "num_attempts": 2})
    assert webhooks.event_body(again) == webhooks.event_body(ENTRY)

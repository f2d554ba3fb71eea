"use strict";
(async () => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const plots = [...document.querySelectorAll(".plot")];
  const figures = plots.map((plot) => JSON.parse(plot.nextElementSibling.textContent));

  const tint = (token) => {
    const match = /^\$(\d)\/([\d.]+)$/.exec(token);
    if (!match) return token;
    const hex = css(`--c${match[1]}`).replace(/^#(.)(.)(.)$/, "#$1$1$2$2$3$3");
    const part = (at) => parseInt(hex.slice(at, at + 2), 16);
    return `rgba(${part(1)},${part(3)},${part(5)},${match[2]})`;
  };
  const themed = (value) => {
    if (typeof value === "string") return tint(value);
    if (Array.isArray(value)) return value.map(themed);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, themed(each)]));
  };
  const template = () => {
    const axis = {
      automargin: true, gridcolor: css("--line"), linecolor: css("--soft"), tickcolor: css("--line"),
      zerolinecolor: css("--line"), zerolinewidth: 1, title: { standoff: 8 },
    };
    return { layout: {
      colorway: [1, 2, 3, 4, 5, 6, 7, 8].map((index) => css(`--c${index}`)),
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: css("--ink") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      xaxis: { ...axis, showgrid: false, ticks: "outside" },
      yaxis: { ...axis, ticks: "outside", tickcolor: "rgba(0,0,0,0)", ticklen: 6 },
      hoverlabel: { bgcolor: css("--tint"), bordercolor: css("--line"), font: { color: css("--ink") } },
      legend: { orientation: "h", traceorder: "normal", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom" },
      margin: { l: 8, r: 16, t: 8, b: 8 }, bargap: 0.35, separators: ".,",
    } };
  };
  const wrapped = (label) => label.split(" ").reduce((lines, word) => {
    const last = lines[lines.length - 1];
    if (lines.length && `${last} ${word}`.length <= 20) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
    return lines;
  }, []).join("<br>");
  // On a phone, long names beside a chart are set on two lines, so that the chart keeps its width.
  const narrowed = (data, layout, width) => {
    const names = [...new Set(data.flatMap((trace) => trace.y || []))];
    if (width > 560 || !names.every((name) => typeof name === "string")) return layout;
    const ticks = { tickmode: "array", tickvals: names, ticktext: names.map(wrapped) };
    return { ...layout, yaxis: { ...layout.yaxis, ...ticks, tickfont: { size: 11 } } };
  };
  const PAPER_PX = 660;
  const draw = (paper) => Promise.all(plots.map((plot, at) => {
    const { data, layout = {} } = themed(figures[at]);
    const options = { responsive: true, displayModeBar: false, scrollZoom: false };
    const suited = narrowed(data, layout, plot.clientWidth);
    return Plotly.react(plot, data, {
      ...suited, template: template(), width: paper === true ? PAPER_PX : undefined,
    }, options);
  }));

  const unpack = async (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };
  try {
    const script = document.createElement("script");
    script.textContent = await unpack(document.getElementById("plotly").textContent);
    document.head.append(script);
    await draw();
  } catch (error) {
    for (const plot of plots) {
      plot.classList.add("failed");
      plot.textContent = plot.getAttribute("aria-label");
    }
    for (const details of document.querySelectorAll("details")) details.open = true;
    return;
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  const shut = [];
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details:not([open])")) {
      shut.push(details);
      details.open = true;
    }
    draw(true);
  });
  addEventListener("afterprint", () => {
    for (const details of shut.splice(0)) details.open = false;
    draw();
  });
  document.documentElement.dataset.drawn = String(plots.length);
})();

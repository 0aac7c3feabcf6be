"use strict";
// Draws the charts of a report from the JSON in #page-data. Texts from the data reach the page as text nodes only;
// plotly reads a little HTML in its labels, so they are escaped for it by plain().
(() => {
  const data = JSON.parse(document.getElementById("page-data").textContent);
  const byId = (id) => document.getElementById(id);
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const cut = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
  const label = (text) => plain(cut(String(text), 28));
  const narrow = () => window.innerWidth < 720;
  const time = (i) => data.stamps[i];
  const times = (list) => list.map(time);
  const state = { series: 0, model: 0, fan: 0 };

  // -- looks ------------------------------------------------------------------------------------
  let css;
  const colour = (name) => css.getPropertyValue("--" + name).trim();
  const faint = (hex, alpha) =>
    `rgba(${[1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)).join(",")},${alpha})`;
  const shade = (model) => colour("m" + (data.models.indexOf(model) % 6));
  const dashes = ["solid", "dot", "dash", "dashdot"];
  const baseLine = (name) => {
    const k = data.baselines.indexOf(name);
    return { color: colour("base"), width: name === "naive" ? 2 : 1.4, dash: dashes[k % 4] };
  };
  const layout = (more) => {
    const axis = (extra) => ({
      gridcolor: colour("grid"), linecolor: colour("rule"), zeroline: false, automargin: true, fixedrange: narrow(),
      title: { standoff: 8, font: { size: 12 } }, ...extra,
    });
    const { xaxis, yaxis, ...rest } = more;
    return {
      margin: { l: 46, r: 10, t: 10, b: 34 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, -apple-system, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif", size: 12, color: colour("soft") },
      hovermode: "x unified", hoverlabel: { bgcolor: colour("card"), font: { color: colour("ink") } },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 }, traceorder: "normal" },
      dragmode: narrow() ? false : "zoom", xaxis: axis(xaxis), yaxis: axis(yaxis), ...rest,
    };
  };
  const line = (x, y, name, style, more) => ({ x, y, name: label(name), mode: "lines", line: style, ...more });
  const draw = (id, traces, shape) => {
    const node = byId("chart-" + id);
    if (node) Plotly.react(node, traces, layout(shape), { displayModeBar: false, responsive: true, displaylogo: false });
  };

  // -- the series shown -------------------------------------------------------------------------
  const series = () => data.series[state.series];
  const model = () => data.models[state.model];
  const first = (s) => (typeof s.at === "number" ? s.at : s.at[0]);
  const row = (s, i) => (typeof s.at === "number" ? i - s.at : s.at.indexOf(i));
  const rowStamps = (s) => (typeof s.at === "number" ? data.stamps.slice(s.at, s.at + s.y.length) : times(s.at));

  const band = (fan, name, from) => {
    // from the last known value outwards, the widest interval first
    const levels = data.levels[name] || [];
    const out = [];
    [...levels.keys()].reverse().forEach((k, depth) => {
      const [low, high] = fan.bounds[name][k];
      const x = [...(from === null ? [] : [time(fan.origin)]), ...times(fan.at)];
      const start = from === null ? [] : [from];
      const base = { x, mode: "lines", line: { width: 0 }, legendgroup: "b" + k };
      out.push({ ...base, y: [...start, ...low], showlegend: false, hoverinfo: "skip" });
      out.push({
        ...base, y: [...start, ...high], fill: "tonexty", fillcolor: faint(shade(name), depth ? 0.24 : 0.13),
        name: levels[k] + " % interval", hoverinfo: "skip",
      });
    });
    return out;
  };

  const fanTraces = (s, fan) => {
    const known = fan.origin >= 0 ? s.y[row(s, fan.origin)] : null;
    const from = known === undefined ? null : known;
    const traces = band(fan, model(), from);
    data.models.forEach((name) => {
      const x = [...(from === null ? [] : [time(fan.origin)]), ...times(fan.at)];
      const y = [...(from === null ? [] : [from]), ...fan.f[name]];
      const mine = name === model();
      const marks = mine && fan.at.length <= 40;
      traces.push({
        ...line(x, y, name, { color: shade(name), width: mine ? 2.4 : 1.3 }),
        mode: marks ? "lines+markers" : "lines", marker: { size: 5, color: shade(name) },
      });
    });
    return traces;
  };

  const windowOf = (s, from, to) => {
    const low = Math.max(0, row(s, Math.max(from, first(s))));
    const stamps = rowStamps(s).slice(low, low + (to - from) + 1);
    return [stamps, s.y.slice(low, low + (to - from) + 1)];
  };

  const drawAhead = () => {
    const s = series(), fan = s.ahead;
    if (!fan) return;
    const back = Math.max(60, 6 * data.horizon);
    const [x, y] = windowOf(s, fan.origin - back, fan.origin);
    draw("ahead", [line(x, y, data.target, { color: colour("truth"), width: 1.6 }), ...fanTraces(s, fan)], {
      yaxis: { title: { text: label(data.series.length > 1 ? s.id : data.target) } },
    });
  };

  const drawOverview = () => {
    const s = series(), fan = s.fans[state.fan];
    const one = s.one, traces = [line(rowStamps(s), s.y, "truth", { color: colour("truth"), width: 1.3 })];
    data.models.forEach((name) => {
      if (one.f[name]) traces.push(line(times(one.at), one.f[name], name, { color: shade(name), width: 1.1 }));
    });
    const shapes = fan
      ? [{ type: "line", xref: "x", yref: "paper", x0: time(fan.origin), x1: time(fan.origin), y0: 0, y1: 1,
           line: { color: colour("soft"), width: 1, dash: "dot" } }]
      : [];
    draw("overview", traces, { shapes, yaxis: { title: { text: label(data.target) } } });
  };

  const drawOrigin = () => {
    const s = series(), fan = s.fans[state.fan];
    const text = byId("origin-label");
    if (!fan) return draw("origin", [], {});
    if (text) text.textContent = `${time(fan.origin)}  (${state.fan + 1} of ${s.fans.length})`;
    const back = Math.max(30, 2 * data.horizon);
    const [x, y] = windowOf(s, fan.origin - back, fan.at[fan.at.length - 1]);
    const truth = { ...line(x, y, "truth", { color: colour("truth"), width: 1.8 }) };
    const mark = { type: "line", xref: "x", yref: "paper", x0: time(fan.origin), x1: time(fan.origin), y0: 0, y1: 1,
                   line: { color: colour("soft"), width: 1, dash: "dot" } };
    draw("origin", [...fanTraces(s, fan), truth], { shapes: [mark], yaxis: { title: { text: label(data.target) } } });
  };

  const drawShift = () => {
    const s = series(), one = s.one, name = model();
    if (!one.f[name]) return;
    const n = one.at.length, from = Math.max(0, n - 60), y = one.at.map((i) => s.y[row(s, i)]);
    const x = times(one.at.slice(from));
    const title = data.series.length > 1 ? label(s.id) : label(data.target);
    draw("shift-time", [
      line(x, y.slice(from), "truth", { color: colour("truth"), width: 2 }),
      line(x, one.last.slice(from), "last value known", { color: colour("base"), width: 1.6, dash: "dot" }),
      line(x, one.f[name].slice(from), name, { color: shade(name), width: 2 }),
    ], { yaxis: { title: { text: title } } });
    const said = [], happened = [];
    one.f[name].forEach((f, i) => {
      if (f === null || y[i] === null || y[i] === undefined || one.last[i] === null) return;
      said.push(f - one.last[i]);
      happened.push(y[i] - one.last[i]);
    });
    const reach = Math.max(...happened.map(Math.abs), 1e-12);
    const wide = Math.max(...said.map(Math.abs), 1e-12);
    const end = Math.min(reach, wide);
    draw("shift-scatter", [
      line([-end, end], [-end, end], "forecast = truth", { color: colour("base"), width: 1.4, dash: "dot" }, { hoverinfo: "skip" }),
      { x: said, y: happened, mode: "markers", name: label(name), marker: { color: shade(name), size: 5, opacity: 0.45 } },
    ], { hovermode: "closest", xaxis: { title: { text: "change forecast" }, range: [-1.06 * wide, 1.06 * wide] },
         yaxis: { title: { text: "change that happened" }, range: [-1.06 * reach, 1.06 * reach] } });
  };

  // -- all series together ----------------------------------------------------------------------
  const drawSteps = () => {
    const d = data.steps, names = [...data.baselines, ...data.models], single = d.step.length === 1;
    const traces = (values) => names.map((name) => ({
      ...line(d.step, values[name], name, data.models.includes(name) ? { color: shade(name), width: 2.6 } : baseLine(name)),
      mode: d.step.length <= 40 ? "lines+markers" : "lines",
      marker: { size: single ? 10 : 5, color: data.models.includes(name) ? shade(name) : colour("base") },
      visible: d.hidden.includes(name) ? "legendonly" : true,
    }));
    const xaxis = { title: { text: "step ahead" }, dtick: d.step.length <= 12 ? 1 : undefined };
    draw("ratio", traces(d.ratio), { xaxis, yaxis: { title: { text: plain(`${d.measure} / ${d.reference}'s`) } } });
    draw("error", traces(d.error), { xaxis, yaxis: { title: { text: plain(d.measure) }, rangemode: "tozero" } });
  };

  const drawCalibration = () => {
    const entries = Object.entries(data.calibration);
    if (!entries.length) return;
    const cover = [], pit = [], aims = new Set();
    entries.forEach(([name, part]) => {
      Object.entries(part.coverage).forEach(([level, values], k) => {
        aims.add(Number(level));
        cover.push({
          ...line(part.step, values.map((v) => (v === null ? null : 100 * v)), `${cut(name, 18)}, ${level} %`,
            { color: shade(name), width: 2, dash: dashes[k % 4] }),
          mode: part.step.length <= 40 ? "lines+markers" : "lines", marker: { size: 5, color: shade(name) },
        });
      });
      const q = [0, ...part.quantile, 1], seen = [0, ...part.observed, 1];
      const x = [], y = [];
      for (let i = 1; i < q.length; i++) {
        const height = q[i] > q[i - 1] ? (seen[i] - seen[i - 1]) / (q[i] - q[i - 1]) : null;
        x.push(q[i - 1], q[i]);
        y.push(height, height);
      }
      pit.push(line(x, y, name, { color: shade(name), width: 2.2 },
        { fill: entries.length === 1 ? "tozeroy" : "none", fillcolor: faint(shade(name), 0.14) }));
    });
    const rules = [...aims].map((level) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: level, y1: level,
      line: { color: colour("soft"), width: 1, dash: "dot" } }));
    draw("coverage", cover, { shapes: rules, xaxis: { title: { text: "step ahead" } },
      yaxis: { title: { text: "inside, %" }, range: [0, 103] } });
    const flat = { type: "line", xref: "paper", x0: 0, x1: 1, y0: 1, y1: 1, line: { color: colour("soft"), width: 1, dash: "dot" } };
    draw("pit", pit, { shapes: [flat], hovermode: "closest", xaxis: { title: { text: "forecast quantile" }, range: [0, 1] },
      yaxis: { title: { text: "density of truths" }, rangemode: "tozero" }, showlegend: entries.length > 1 });
  };

  const drawSkill = () => {
    const d = data.skill;
    const traces = data.models.map((name) =>
      line(d.stamps, d.skill[name].map((v) => (v === null ? null : 100 * v)), name, { color: shade(name), width: 2 }));
    const zero = { type: "line", xref: "paper", x0: 0, x1: 1, y0: 0, y1: 0, line: { color: colour("ink"), width: 1 } };
    draw("skill", traces, { shapes: [zero], yaxis: { title: { text: plain(cut(`error saved against ${d.baseline}, %`, 40)) } },
      showlegend: data.models.length > 1 });
  };

  const drawSeeds = () => {
    const d = data.seeds;
    if (!d || !d.rows) return;
    const names = Object.keys(d.rows);
    const traces = names.flatMap((name, k) => [
      { x: d.rows[name].map((r) => r.error), y: d.rows[name].map(() => k), text: d.rows[name].map((r) => "seed " + r.seed),
        mode: "markers", name: label(name), marker: { color: shade(name), size: 11, opacity: 0.75 }, hoverinfo: "text+x" },
      { x: [d.mean[name]], y: [k], mode: "markers", showlegend: false, hoverinfo: "x",
        marker: { symbol: "line-ns", size: 24, line: { color: shade(name), width: 3 } } },
    ]);
    const shapes = Object.values(d.lines).map((value) => ({ type: "line", yref: "paper", x0: value, x1: value, y0: 0, y1: 1,
      line: { color: colour("soft"), width: 1.2, dash: "dot" } }));
    const annotations = Object.entries(d.lines).map(([name, value], k) => ({ x: value, y: 1 - 0.1 * k, yref: "paper",
      text: label(name), showarrow: false, xanchor: "left", xshift: 4, font: { size: 12 } }));
    draw("seeds", traces, { shapes, annotations, hovermode: "closest", xaxis: { title: { text: plain(d.measure) } }, showlegend: false,
      yaxis: { tickvals: names.map((_, k) => k), ticktext: names.map(label), range: [-0.6, names.length - 0.4], showgrid: false } });
  };

  // -- a study of settings ----------------------------------------------------------------------
  const study = data.study;
  const zoomed = (values) => {
    // a few hopeless trials would flatten the chart: beyond the upper fence they are drawn at its edge
    const known = values.filter((v) => v !== null).sort((a, b) => a - b);
    const at = (q) => known[Math.min(known.length - 1, Math.floor(q * known.length))];
    const fence = at(0.75) + 2 * (at(0.75) - known[0]);
    const top = Math.min(known[known.length - 1], Math.max(fence, known[0] * 1.05));
    const pad = 0.06 * (top - known[0] || Math.abs(top) || 1);
    return { top, range: [known[0] - pad, top + pad], over: known[known.length - 1] > top };
  };
  const ring = (x, y) => ({ x, y, mode: "markers", name: "winner", hoverinfo: "skip",
    marker: { symbol: "circle-open", size: 15, color: colour("m1"), line: { width: 2.6 } } });

  const drawHistory = () => {
    const rows = study.trials, scored = rows.filter((r) => r.value !== null);
    if (!scored.length) return;
    const zoom = zoomed(scored.map((r) => r.value)), low = (v) => Math.min(v, zoom.top);
    const cutShort = rows.filter((r) => r.reached !== null && r.reached !== undefined);
    const best = rows.filter((r) => r.best !== null);
    const failed = rows.filter((r) => r.state === "fail");
    const dots = (part, value, name, marker) => ({ x: part.map((r) => r.number), y: part.map((r) => low(value(r))), name, mode: "markers",
      text: part.map((r) => `trial ${r.number}: ${value(r).toPrecision(5)}`), hoverinfo: "text", marker });
    const traces = [
      dots(scored, (r) => r.value, "scored", { color: colour("m0"), size: 7, opacity: 0.8 }),
      dots(cutShort, (r) => r.reached, "pruned, mean of its folds", { color: colour("base"), size: 7, symbol: "x-thin", line: { color: colour("base"), width: 1.6 } }),
      dots(failed, () => zoom.top, "failed or stopped", { color: colour("bad"), size: 8, symbol: "triangle-down" }),
      { x: best.map((r) => r.number), y: best.map((r) => low(r.best)), name: "best so far", mode: "lines", hoverinfo: "skip",
        line: { color: colour("m1"), width: 2, shape: "hv" } },
      ring([study.best], [low(scored.find((r) => r.number === study.best).value)]),
    ].filter((t) => t.x.length);
    if (failed.length) traces.find((t) => t.name.startsWith("failed")).text = failed.map((r) => `trial ${r.number} failed`);
    const shapes = study.start === null ? [] : [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: low(study.start), y1: low(study.start),
      line: { color: colour("soft"), width: 1, dash: "dot" } }];
    const annotations = study.start === null ? [] : [{ x: 1, xref: "paper", xanchor: "right", y: low(study.start), yanchor: "bottom",
      text: "default configuration", showarrow: false, font: { size: 12, color: colour("soft") } }];
    draw("history", traces, { hovermode: "closest", shapes, annotations, xaxis: { title: { text: "trial" } },
      yaxis: { title: { text: plain(study.metric) + (zoom.over ? ", cut off above" : "") }, range: zoom.range } });
  };

  const drawImportances = () => {
    const names = Object.keys(study.importances).sort((a, b) => study.importances[a] - study.importances[b]);
    if (!names.length) return;
    draw("importances", [{ type: "bar", orientation: "h", x: names.map((n) => 100 * study.importances[n]), y: names.map(label),
      marker: { color: colour("m0") }, hoverinfo: "x", showlegend: false }],
    { hovermode: "closest", bargap: 0.35, xaxis: { title: { text: "importance, %" }, rangemode: "tozero" }, yaxis: { showgrid: false } });
  };

  const sliceAxis = (one) => {
    const title = { text: label(one.name), standoff: 14 };
    if (one.choice) return { title, type: "category", categoryorder: "array", categoryarray: one.known.map(plain) };
    const [low, high] = one.known, whole = one.whole && high - low <= 12;
    if (one.log) return { title, type: "log", exponentformat: "power", dtick: high / low >= 100 ? Math.ceil(Math.log10(high / low) / 6) : undefined };
    return { title, type: "linear", dtick: whole ? 1 : undefined };
  };
  const sliceValues = (one) => (one.choice ? one.values.map(plain) : one.values);
  const shades = (numbers) => {
    const last = Math.max(1, ...numbers);
    return numbers.map((n) => faint(colour("m0"), 0.25 + 0.65 * (n / last)));
  };

  const drawSlices = () => study.slices.forEach((one, k) => {
    if (!one.errors.length) return;
    const zoom = zoomed(one.errors), x = sliceValues(one), y = one.errors.map((v) => Math.min(v, zoom.top));
    const winner = one.numbers.indexOf(study.best);
    const dots = { x, y, mode: "markers", name: "trials", marker: { color: shades(one.numbers), size: 8 },
      text: one.numbers.map((n, i) => `trial ${n}: ${one.errors[i].toPrecision(5)}`), hoverinfo: "text" };
    draw("slice-" + k, winner < 0 ? [dots] : [dots, ring([x[winner]], [y[winner]])],
      { hovermode: "closest", showlegend: false, xaxis: sliceAxis(one),
        yaxis: { title: { text: plain(study.metric) }, range: zoom.range } });
  });

  const drawPair = () => {
    if (!study.pair) return;
    const [a, b] = study.pair.map((k) => study.slices[k]);
    const both = a.numbers.map((n, i) => [i, b.numbers.indexOf(n)]).filter(([, j]) => j >= 0);
    if (!both.length) return;
    const errors = both.map(([i]) => a.errors[i]), order = [...errors].sort((x, y) => x - y);
    const rank = errors.map((v) => order.indexOf(v) / Math.max(1, order.length - 1)); // ranks: one hopeless trial does not bleach the others
    const [xs, ys] = [sliceValues(a), sliceValues(b)];
    const at = both.findIndex(([i]) => a.numbers[i] === study.best);
    const dots = { x: both.map(([i]) => xs[i]), y: both.map(([, j]) => ys[j]), mode: "markers", name: "trials", hoverinfo: "text",
      text: both.map(([i], k) => `trial ${a.numbers[i]}: ${errors[k].toPrecision(5)}`),
      marker: { size: 11, color: rank.map((r) => faint(colour("m0"), 0.95 - 0.85 * r)), line: { width: 1, color: faint(colour("m0"), 0.7) } } };
    draw("pair", at < 0 ? [dots] : [dots, ring([dots.x[at]], [dots.y[at]])],
      { hovermode: "closest", showlegend: false, xaxis: sliceAxis(a), yaxis: sliceAxis(b) });
  };

  const drawFront = () => {
    if (!study.also || !study.front.length) return;
    const rows = study.trials.filter((r) => r.value !== null && r.also !== null);
    const front = study.front.map((n) => rows.find((r) => r.number === n));
    draw("front", [
      { x: rows.map((r) => r.value), y: rows.map((r) => r.also), mode: "markers", name: "scored", marker: { color: colour("base"), size: 7 },
        text: rows.map((r) => `trial ${r.number}`), hoverinfo: "text+x+y" },
      { x: front.map((r) => r.value), y: front.map((r) => r.also), mode: "lines+markers", name: "Pareto front",
        line: { color: colour("m0"), width: 2 }, marker: { size: 9, color: colour("m0") }, hoverinfo: "skip" },
      ring([front[0].value], [front[0].also]),
    ], { hovermode: "closest", xaxis: { title: { text: plain(study.metric) } }, yaxis: { title: { text: plain(study.also) } } });
  };
  const drawStudy = () => { drawHistory(); drawImportances(); drawSlices(); drawPair(); drawFront(); };

  // -- controls ---------------------------------------------------------------------------------
  const drawSeries = () => { drawAhead(); drawOverview(); drawOrigin(); drawShift(); };
  const drawAll = () => {
    css = getComputedStyle(document.documentElement);
    if (study) return drawStudy();
    drawSeries();
    if (data.steps) { drawSteps(); drawCalibration(); drawSkill(); drawSeeds(); }
  };
  const slider = byId("origin-slider");
  const moveTo = (k) => {
    state.fan = Math.max(0, Math.min(series().fans.length - 1, k));
    if (slider) slider.value = String(state.fan);
    drawOverview();
    drawOrigin();
  };
  const chooseSeries = (k) => {
    state.series = k;
    const fans = series().fans, whole = fans.findLastIndex((fan) => fan.at.length === data.horizon);
    state.fan = Math.max(0, whole < 0 ? fans.length - 1 : whole); // the newest origin whose every step has a truth
    if (slider) { slider.max = String(Math.max(0, series().fans.length - 1)); slider.value = String(state.fan); }
    const pick = byId("pick-series");
    if (pick) pick.value = String(k);
  };
  const options = (node, texts) => texts.forEach((text, k) => {
    const option = document.createElement("option");
    option.value = String(k);
    option.textContent = cut(text, 60);
    node.append(option);
  });

  const controls = () => {
    const pick = byId("pick-series"), which = byId("pick-model");
    if (!pick) return;
    options(pick, data.series.map((s) => s.id));
    options(which, data.models);
    document.querySelector(".pick-series").hidden = data.series.length < 2;
    document.querySelector(".pick-model").hidden = data.models.length < 2;
    pick.addEventListener("change", () => { chooseSeries(Number(pick.value)); drawSeries(); });
    which.addEventListener("change", () => { state.model = Number(which.value); drawSeries(); });
    slider.addEventListener("input", () => moveTo(Number(slider.value)));
    byId("back").addEventListener("click", () => moveTo(state.fan - 1));
    byId("forth").addEventListener("click", () => moveTo(state.fan + 1));
    byId("chart-overview").on("plotly_click", (event) => {
      const at = String(event.points[0].x).slice(0, time(0).length);
      const gaps = series().fans.map((fan) => Math.abs(Date.parse(time(fan.origin)) - Date.parse(at)));
      moveTo(gaps.indexOf(Math.min(...gaps)));
    });
  };

  const sortTable = (table, column, button) => {
    const head = button.closest("th"), body = table.tBodies[0];
    const down = head.getAttribute("aria-sort") !== "descending";
    table.querySelectorAll("th[aria-sort]").forEach((th) => th.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const numeric = head.classList.contains("n");
    const key = (tr) => tr.cells[column].dataset.v;
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === undefined || y === undefined) return (x === undefined) - (y === undefined); // missing last
      const order = numeric ? Number(x) - Number(y) : x.localeCompare(y);
      return down ? -order : order;
    });
    body.append(...rows);
  };
  const tables = () => {
    document.querySelectorAll("table.sortable").forEach((table) => {
      table.querySelectorAll("thead button").forEach((button, column) =>
        button.addEventListener("click", () => sortTable(table, column, button)));
    });
    const places = new Map((data.series || []).map((s, k) => [s.id, k]));
    document.querySelectorAll("section#series tbody th").forEach((th) => {
      const k = places.get(th.textContent);
      if (k === undefined) return;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = th.textContent;
      button.addEventListener("click", () => { chooseSeries(k); drawSeries(); byId("truth").scrollIntoView(); });
      th.replaceChildren(button);
    });
  };

  if (!study) chooseSeries(0);
  drawAll();
  if (!study) controls();
  tables();
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  document.documentElement.dataset.ready = "yes";
})();

/* One binary stochastic neuron to play with: its samples, and what each estimator makes of them.
 *
 * A classic script without dependencies, so that the page works from a file and offline, too.
 * First the formulas, as pure functions: the tests call them through window.bsnPlayground and
 * hold them against the package. Then the state, the page, its figures and its events. */
(function () {
  "use strict";

  // ---------------------------------------------------------------- formulas

  const sigmoid = (x) => 1 / (1 + Math.exp(-x));

  /** What an estimator may know of a neuron in the state {a, s, t, tau}. */
  function neuron({ a, s, t, tau }) {
    const theta = s * a, f = (b) => (b - t) ** 2, df = (b) => 2 * (b - t);
    return { s, t, tau, theta, f, df, p: sigmoid(theta), q: sigmoid(-theta) }; // q: 1 - p, never rounded to 0
  }

  const step = (c, u) => (u < c.p ? 1 : 0); // the sample, by the book's contract
  const score = (c, b) => c.s * (b ? c.q : -c.p); // s (b - p), the derivative of log P(b)
  const baseline = (c) => c.q * c.f(1) + c.p * c.f(0); // E[(b - p)² f] / E[(b - p)²]; p (1 - p) cancels
  const exactGradient = (c) => c.s * c.p * c.q * (c.f(1) - c.f(0));
  const relaxed = (c, u) => sigmoid((c.theta + Math.log(u / (1 - u))) / c.tau);
  const rounded = (c, u) => (relaxed(c, u) > 0.5 ? 1 : 0);
  const bump = (c, y) => (y * (1 - y) * c.s) / c.tau; // the derivative of `relaxed`
  const difference = (c, u) => c.f(u > c.q ? 1 : 0) - c.f(step(c, u)); // 0 where the pair agrees

  const OF_SAMPLE = { // name: label, gradient from the sample b
    "pass-through": ["Straight-through, pass-through", (c, b) => c.df(b)],
    "sigmoid-adjusted": ["Straight-through, sigmoid-adjusted", (c, b) => c.df(b) * c.s * c.p * c.q],
    "fires-only": ["Straight-through, fires only", (c, b) => c.df(b) * b],
    reinforce: ["REINFORCE", (c, b) => c.f(b) * score(c, b)],
    "variance-adjusted": ["REINFORCE, variance-adjusted", (c, b) => (c.f(b) - baseline(c)) * score(c, b)],
    reinmax: ["ReinMax", (c, b) => 0.5 * c.df(b) * Math.abs(score(c, b))],
  };
  const OF_NOISE = { // name: label, gradient from the noise u itself, sample
    "st-gumbel": ["Straight-through Gumbel", (c, u) => c.df(rounded(c, u)) * bump(c, relaxed(c, u)), rounded],
    concrete: ["Concrete", (c, u) => c.df(relaxed(c, u)) * bump(c, relaxed(c, u)), relaxed],
    arm: ["ARM", (c, u) => difference(c, u) * (u - 0.5) * c.s, step],
    disarm: ["DisARM",
      (c, u) => 0.5 * difference(c, u) * (-1) ** step(c, u) * sigmoid(Math.abs(c.theta)) * c.s, step],
  };
  const ESTIMATORS = { ...OF_SAMPLE, ...OF_NOISE };
  const sample = (name, c, u) => (OF_NOISE[name]?.[2] ?? step)(c, u);
  const gradient = (name, c, u) => ESTIMATORS[name][1](c, name in OF_SAMPLE ? step(c, u) : u);

  // Gauss-Legendre with 8 points on [-1, 1]: each also at minus its place
  const LEGENDRE = [ // place, weight
    [0.1834346424956498, 0.362683783378362], [0.525532409916329, 0.3137066458778873],
    [0.7966664774136267, 0.2223810344533745], [0.9602898564975363, 0.1012285362903763],
  ];

  /** Gradients and weights whose weighted sum is the expectation. */
  function outcomes(name, c) {
    const of = ESTIMATORS[name][1];
    if (name in OF_SAMPLE) return [[of(c, 1), c.p], [of(c, 0), c.q]];
    // An integral over z = logit u, in panels that end at every jump and grow away from it.
    const edges = [-40, 40], result = [];
    for (const [centre, width] of [[-c.theta, Math.min(1, c.tau)], [0, 1], [c.theta, 1]]) {
      for (const r of [0, 1, 2, 4, 8, 16, 32]) edges.push(centre - r * width, centre + r * width);
    }
    edges.sort((x, y) => x - y);
    for (let i = 1; i < edges.length; i++) {
      const half = (edges[i] - edges[i - 1]) / 2, middle = (edges[i] + edges[i - 1]) / 2;
      if (half < 1e-12 || Math.abs(middle) > 40) continue; // empty, or never reached
      for (const [place, weight] of LEGENDRE) {
        for (const z of [middle - half * place, middle + half * place]) {
          result.push([of(c, sigmoid(z)), weight * half * sigmoid(z) * sigmoid(-z)]);
        }
      }
    }
    return result;
  }

  /** The exact gradient, and the estimator's mean, bias and variance, without sampling. */
  function moments(name, c) {
    const all = outcomes(name, c), exact = exactGradient(c);
    const mean = all.reduce((sum, [g, weight]) => sum + weight * g, 0);
    const variance = all.reduce((sum, [g, weight]) => sum + weight * (g - mean) ** 2, 0);
    const rounding = 1e-9 * Math.max(Math.abs(mean), Math.abs(exact)); // below it, say 0
    const bias = Math.abs(mean - exact) < rounding ? 0 : mean - exact;
    return { exact, mean, bias, variance: variance < rounding ** 2 ? 0 : variance };
  }

  /** Mean and variance of numbers, each with its standard error. */
  function summary(values) {
    const n = values.length, mean = values.reduce((sum, x) => sum + x, 0) / n;
    const central = (k) => values.reduce((sum, x) => sum + (x - mean) ** k, 0) / n;
    const variance = (central(2) * n) / (n - 1);
    const ofVariance = Math.max(0, central(4) - (variance ** 2 * (n - 3)) / (n - 1)) / n;
    return { mean, meanError: Math.sqrt(variance / n), variance, varianceError: Math.sqrt(ofVariance) };
  }

  /** n noises from (0, 1), the same for the same seed (mulberry32). */
  function noise(seed, n) {
    let word = seed >>> 0;
    return Array.from({ length: n }, () => {
      word = (word + 0x6d2b79f5) >>> 0;
      let x = Math.imul(word ^ (word >>> 15), word | 1);
      x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
      return (((x ^ (x >>> 14)) >>> 0) + 0.5) / 2 ** 32;
    });
  }

  // ------------------------------------------------------------------- state

  const INPUTS = { // label, lowest, highest, step, start
    a: ["Logit a", -6, 6, 0.1, -1],
    s: ["Slope s", 0.5, 8, 0.1, 1],
    t: ["Target t", 0, 1, 0.01, 0.45],
    n: ["Samples N", 10, 2000, 10, 200],
    tau: ["Temperature τ", 0.1, 5, 0.1, 1],
    seed: ["Seed", 1, 2 ** 31, 1, 1], // no control of its own: "Draw anew" counts it up
  };
  const CONTROLS = ["tau", "a", "s", "t", "n"];
  const PRESETS = {
    "Wrong direction": { a: -1, s: 1, t: 0.45, e: "sigmoid-adjusted" },
    "Steep slope": { a: -1, s: 4, t: 0.45, e: "sigmoid-adjusted" },
    "Right but noisy": { a: -1, s: 1, t: 0.45, e: "reinforce" },
    "With a baseline": { a: -1, s: 1, t: 0.45, e: "variance-adjusted" },
    "Relaxation": { a: -1, s: 1, t: 0.45, e: "concrete", tau: 0.5 },
  };

  const toHash = (state) =>
    "#" + ["a", "s", "t", "e", "n", "tau", "seed"].map((key) => `${key}=${state[key]}`).join("&");

  /** The number that a text means for an input, within its range; `otherwise` where it is none. */
  function read(key, text, otherwise) {
    const [, low, high, by] = INPUTS[key], number = parseFloat(text);
    if (!Number.isFinite(number)) return otherwise;
    return Math.min(high, Math.max(low, by >= 1 ? Math.round(number) : number));
  }

  /** The state that a link names; what it leaves out or gets wrong is as at the start. */
  function fromHash(hash) {
    const given = new URLSearchParams(hash.slice(1)), name = given.get("e");
    const state = { e: Object.hasOwn(ESTIMATORS, name) ? name : "sigmoid-adjusted" };
    for (const key in INPUTS) state[key] = read(key, given.get(key), INPUTS[key][4]);
    return state;
  }

  window.bsnPlayground = {
    names: Object.keys(ESTIMATORS), summary, noise, toHash, fromHash,
    gradient: (name, state, u) => gradient(name, neuron(state), u),
    sample: (name, state, u) => sample(name, neuron(state), u),
    moments: (name, state) => moments(name, neuron(state)),
  };

  // ---------------------------------------------------------------- the page

  const root = document.getElementById("playground");
  if (!root) return;
  const at = (id) => document.getElementById("pg-" + id);
  const minus = (text) => String(text).replace("-", "−");

  function format(x) {
    if (Math.abs(x) < 1e-12) return "0";
    if (Math.abs(x) >= 1e-4) return minus(x.toPrecision(3));
    const [digits, power] = x.toExponential(1).split("e-");
    return `${minus(digits)} × 10⁻${[...power].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("")}`;
  }

  /** A number with its standard error, to the error's second digit. */
  function measured(value, error) {
    const places = Math.max(0, 1 - Math.floor(Math.log10(Math.max(error, 1e-6))));
    return `${minus(value.toFixed(places))} ± ${error.toFixed(places)}`;
  }

  const control = (key) => {
    const [label, low, high, by] = INPUTS[key], range = `min="${low}" max="${high}" step="${by}"`;
    return `<div class="pg-control"><label for="pg-${key}">${label}</label>
      <input type="number" id="pg-${key}-number" aria-label="${label}, as a number" ${range}>
      <input type="range" id="pg-${key}" ${range}></div>`;
  };
  const option = (name) => `<option value="${name}">${ESTIMATORS[name][0]}</option>`;
  const button = (name) => `<button type="button">${name}</button>`;
  const figure = (id, title) =>
    `<figure class="pg-figure"><figcaption>${title}</figcaption><div id="pg-${id}"></div></figure>`;
  const key = (mark, text) => `<span><i class="pg-${mark}" aria-hidden="true"></i>${text}</span>`;
  const row = (id, name) =>
    `<tr><th scope="row">${name}</th><td id="pg-${id}"></td><td id="pg-${id}-sampled">–</td></tr>`;

  root.innerHTML = `
    <div class="pg-controls" role="group" aria-label="Settings">
      <div class="pg-control"><label for="pg-e">Estimator</label>
        <select id="pg-e">${Object.keys(ESTIMATORS).map(option).join("")}</select></div>
      ${CONTROLS.map(control).join("")}
      <div class="pg-buttons"><button type="button" id="pg-draw">Draw anew</button>
        <button type="button" id="pg-reset">Reset</button><span id="pg-seed"></span></div>
    </div>
    <div class="pg-presets" id="pg-presets" role="group" aria-label="Settings to try">
      <span>Try</span> ${Object.keys(PRESETS).map(button).join("")}</div>
    <p id="pg-verdict"></p>
    <p class="pg-hidden" role="status" id="pg-live"></p>
    ${figure("strip", `<b>The samples.</b> <span id="pg-p"></span>`)}
    <div class="pg-pair">${figure("histogram", "<b>The gradient estimates,</b> one for each sample")}
      ${figure("curve", "<b>The same at every logit.</b> Drag to move a")}</div>
    <div class="pg-legend">${key("exact", "exact gradient")}${key("mean", "the estimator’s mean")}
      ${key("draws", "draws; mean ± one standard deviation")}
      ${key("sampled", "mean of these draws ± its standard error")}</div>
    <table class="pg-table"><caption class="pg-hidden">The estimator in numbers</caption><thead><tr><td></td>
      <th scope="col">Exact</th><th scope="col">In these <span id="pg-count"></span> draws</th></tr></thead>
      <tbody>${row("gradient", "Gradient of E[f]")}${row("mean", "Estimator’s mean")}
      ${row("bias", "Its bias")}${row("variance", "Its variance")}</tbody></table>`;

  let state = fromHash(location.hash);
  let timer, drawnWidth;

  /** Draw the state with some changes; soon after tell the address bar and screen readers. */
  function update(changes) {
    Object.assign(state, changes);
    render();
    clearTimeout(timer); // browsers refuse many changes of the address in a short time
    timer = setTimeout(() => {
      if (changes) history.replaceState(null, "", toHash(state));
      at("live").textContent = at("verdict").textContent;
    }, 400);
  }

  /** What the numbers mean: a kind for the colour, a headline and the sentences after it. */
  function verdict({ exact, mean, bias, variance }, t) {
    const due = Math.abs(exact) > 1e-9, deviation = Math.sqrt(variance);
    const way = (slope) => (slope > 0 ? "lowers" : "raises");
    const ratio = due ? `, ${format(deviation / Math.abs(exact))} times the exact gradient` : "";
    const spread = deviation < 1e-9 ? "Every draw gives the same value."
      : `A single draw varies by ${format(deviation)} (standard deviation)${ratio}.`;
    const why = t === 0.5 ? "Both outputs lose the same" : "The neuron is saturated: p is next to 0 or 1";
    const aim = due ? `The exact gradient is ${format(exact)}: descent ${way(exact)} a, towards ${
      exact > 0 ? 0 : 1}.` : `${why}, so that the exact gradient vanishes.`;
    const got = `The estimator’s mean is ${format(mean)}`;
    if (!due && Math.abs(mean) < 1e-9) return ["right", "No push, and none is due.", aim, spread];
    if (!due) return ["wrong", "A push where none is due.", aim, `${got}.`, spread];
    if (bias === 0) return ["right", "Right on average.", aim, spread];
    if (Math.abs(mean / exact) < 0.01) return ["wrong", "Hardly a push.", aim, `${got}.`, spread];
    if (mean * exact < 0) return ["wrong", "Wrong direction.", aim, `${got}, which ${way(mean)} a.`, spread];
    const size = `${got}, ${format(mean / exact)} times that.`;
    return ["biased", "Right direction, wrong size.", aim, size, spread];
  }

  function render() {
    const c = neuron(state), noises = noise(state.seed, state.n);
    const samples = noises.map((u) => sample(state.e, c, u));
    const gradients = noises.map((u) => gradient(state.e, c, u));
    const truth = moments(state.e, c), drawn = summary(gradients);

    at("e").value = state.e;
    for (const name of CONTROLS) at(name).value = at(name + "-number").value = state[name];
    at("tau").disabled = at("tau-number").disabled = !["concrete", "st-gumbel"].includes(state.e);
    at("seed").textContent = `Seed ${state.seed}`;
    const [kind, head, ...sentences] = verdict(truth, state.t);
    at("verdict").className = "pg-verdict pg-" + kind;
    at("verdict").innerHTML = `<b>${head}</b> ${sentences.join(" ")}`;
    const average = (samples.reduce((sum, b) => sum + b, 0) / state.n).toFixed(3);
    at("p").textContent = `p = σ(s·a) ≈ ${format(c.p)}; sample mean ${average}`;
    at("count").textContent = state.n;
    at("gradient").textContent = format(truth.exact);
    for (const name of ["mean", "bias", "variance"]) at(name).textContent = format(truth[name]);
    at("mean-sampled").textContent = measured(drawn.mean, drawn.meanError);
    at("bias-sampled").textContent = measured(drawn.mean - truth.exact, drawn.meanError);
    at("variance-sampled").textContent = measured(drawn.variance, drawn.varianceError);
    drawnWidth = root.clientWidth;
    if (!drawnWidth) return; // not laid out yet: the observer below comes back
    drawStrip(samples, c, average);
    drawHistogram(gradients, truth, drawn, c);
    drawCurve(truth);
  }

  // ----------------------------------------------------------------- figures

  const path = (name, d, more = "") => `<path class="pg-${name}" d="${d}" ${more}/>`;
  const text = (x, y, anchor, words) => `<text x="${x}" y="${y}" text-anchor="${anchor}">${words}</text>`;

  function draw(id, height, label, content) {
    at(id).innerHTML =
      `<svg role="img" aria-label="${label}" width="100%" height="${height}">${content}</svg>`;
  }

  function drawStrip(samples, c, average) {
    const count = samples.length, columns = (cell) => Math.floor(root.clientWidth / cell);
    const height = (cell) => Math.ceil(count / columns(cell)) * cell;
    let cell = 16;
    while (cell > 4 && height(cell) > 100) cell--;
    const shades = Array(11).fill(""); // a relaxed sample lies between 0 and 1: a path for each shade
    let digits = "";
    samples.forEach((b, i) => {
      const x = (i % columns(cell)) * cell, y = Math.floor(i / columns(cell)) * cell, side = cell - 2;
      shades[Math.round(10 * b)] += `M${x + 0.5} ${y + 0.5}h${side}v${side}h${-side}z`;
      if (cell > 10 && state.e !== "concrete") {
        const place = `x="${x + cell / 2 - 0.5}" y="${y + cell / 2 + 3}"`;
        digits += `<tspan class="pg-digit${b}" ${place}>${b}</tspan>`;
      }
    });
    const cells = shades.map((d, k) => (d ? path("cell", d, `fill-opacity="${k / 10}"`) : "")).join("");
    draw("strip", height(cell), `${count} samples, their mean ${average}, where p is ${format(c.p)}`,
      cells + text(0, 0, "middle", digits));
  }

  function ticks([low, high]) {
    const rough = (high - low) / 4.5, power = 10 ** Math.floor(Math.log10(rough));
    const gap = power * [1, 2, 3, 5, 10].find((factor) => factor * power >= rough);
    const first = Math.ceil(low / gap), count = Math.floor(high / gap) - first + 1;
    return Array.from({ length: count }, (_, k) => +((first + k) * gap).toPrecision(6));
  }

  const LEFT = 46, TOP = 22, BOTTOM = 216, RIGHT = 10; // margins, the right one from the right

  /** Scales from data to pixels, and the grid with its numbers. */
  function axes(id, xs, ys, unit = minus) {
    const right = at(id).clientWidth - RIGHT;
    const scale = ([low, high], from, to) => (value) =>
      +(from + ((value - low) / (high - low)) * (to - from)).toFixed(1);
    const x = scale(xs, LEFT, right), y = scale(ys, BOTTOM, TOP);
    const rows = ticks(ys).map((v) => path(v ? "grid" : "zero", `M${LEFT} ${y(v)}H${right}`)
      + text(LEFT - 6, y(v) + 4, "end", unit(v)));
    const columns = ticks(xs).map((v) => path(v ? "grid" : "zero", `M${x(v)} ${TOP}V${BOTTOM}`)
      + text(x(v), BOTTOM + 17, "middle", minus(v)));
    return { x, y, grid: rows.join("") + columns.join("") };
  }

  function drawHistogram(gradients, { exact, mean }, drawn, c) {
    const shown = [...gradients, exact, mean, 0], low = Math.min(...shown), high = Math.max(...shown);
    const pad = Math.max(0.1 * (high - low), 0.005), xs = [low - pad, high + pad], bins = 40;
    const width = (xs[1] - xs[0]) / bins, bin = (g) => Math.floor((g - xs[0]) / width);
    const shares = Array(bins).fill(0);
    for (const g of gradients) shares[bin(g)] += 1 / gradients.length;
    const { x, y, grid } = axes("histogram", xs, [0, 1.18 * Math.max(...shares)],
      (v) => `${+(100 * v).toPrecision(3)} %`);
    const bars = shares.map((share, k) => (share ? path("bar", `M${x(xs[0] + k * width) + 0.5} ${BOTTOM}V${
      y(share)}H${x(xs[0] + (k + 1) * width) - 0.5}V${BOTTOM}z`) : "")).join("");
    const [one, zero] = state.e in OF_SAMPLE ? outcomes(state.e, c).map(([g]) => bin(g)) : []; // of b = 1, 0
    const name = (k, words) =>
      (shares[k] ? text(x(xs[0] + (k + 0.5) * width), y(shares[k]) - 5, "middle", words) : "");
    const names = one === zero ? name(one, "b = 0, 1") : name(one, "b = 1") + name(zero, "b = 0");
    const from = x(drawn.mean - drawn.meanError), to = x(drawn.mean + drawn.meanError), line = TOP - 10;
    const upright = (kind, value) => path(kind, `M${x(value)} ${TOP}V${BOTTOM}`);
    draw("histogram", 240, `Histogram of ${gradients.length} gradient estimates. Exact gradient ${
      format(exact)}, estimator’s mean ${format(mean)}, mean of the draws ${
      measured(drawn.mean, drawn.meanError)}`,
    grid + bars + upright("halo", mean) + upright("halo", exact) + upright("mean", mean)
      + upright("exact", exact) + names
      + path("sampled", `M${from} ${line}H${to}M${from} ${line - 4}v8M${to} ${line - 4}v8`)
      + `<circle class="pg-dot" cx="${x(drawn.mean)}" cy="${line}" r="4"/>`);
  }

  function drawCurve({ exact, mean, variance }) {
    const [, first, last] = INPUTS.a;
    const points = Array.from({ length: 121 }, (_, k) => {
      const a = first + ((last - first) * k) / 120, there = moments(state.e, neuron({ ...state, a }));
      const deviation = Math.sqrt(there.variance);
      return { a, ...there, lower: there.mean - deviation, upper: there.mean + deviation };
    });
    const ends = points.flatMap((point) => [point.lower, point.upper, point.exact, 0]);
    const low = Math.min(...ends), high = Math.max(...ends), pad = Math.max(0.06 * (high - low), 0.002);
    const { x, y, grid } = axes("curve", [first, last], [low - pad, high + pad]);
    const line = (name, list) => "M" + list.map((point) => `${x(point.a)} ${y(point[name])}`).join("L");
    const band = line("upper", points) + line("lower", [...points].reverse()).replace("M", "L") + "z";
    const here = x(state.a), anchor = Math.abs(state.a) < 5 ? "middle" : state.a < 0 ? "start" : "end";
    draw("curve", 240, `Mean of the estimator ± one standard deviation against the logit. At a = ${
      format(state.a)}: ${format(mean)} ± ${format(Math.sqrt(variance))}, exact gradient ${format(exact)}`,
    grid + path("band", band) + path("mean", line("mean", points)) + path("exact", line("exact", points))
      + path("here", `M${here} ${TOP}V${BOTTOM}`)
      + text(here, TOP - 7, anchor, `a = ${minus(+state.a.toFixed(2))}`)
      + `<circle class="pg-handle" cx="${here}" cy="${BOTTOM}" r="7"/>`);
  }

  // ------------------------------------------------------------------ events

  at("e").addEventListener("change", () => update({ e: at("e").value }));
  for (const name of CONTROLS) {
    const number = at(name + "-number"); // read at its end: half a number typed is not the one meant
    number.addEventListener("change", () => update({ [name]: read(name, number.value, state[name]) }));
    at(name).addEventListener("input", () => update({ [name]: read(name, at(name).value, state[name]) }));
  }
  at("draw").addEventListener("click", () => update({ seed: (state.seed % 2 ** 31) + 1 }));
  at("reset").addEventListener("click", () => update(fromHash("")));
  at("presets").addEventListener("click", (event) => update(PRESETS[event.target.textContent]));
  function drag(event) {
    if (!event.buttons) return;
    at("curve").setPointerCapture(event.pointerId);
    const { left, width } = at("curve").getBoundingClientRect(), [, low, high] = INPUTS.a;
    const share = (event.clientX - left - LEFT) / (width - LEFT - RIGHT);
    update({ a: read("a", (low + share * (high - low)).toFixed(1)) });
  }
  for (const kind of ["pointerdown", "pointermove"]) at("curve").addEventListener(kind, drag);
  addEventListener("hashchange", () => {
    if (!location.hash.includes("=")) return; // a heading of the page
    state = fromHash(location.hash);
    update();
  });
  new ResizeObserver(() => root.clientWidth !== drawnWidth && render()).observe(root);
  update();
})();

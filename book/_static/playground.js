/* One binary stochastic neuron to play with: its samples, its gradient estimates and its descent.
 *
 * A classic script without dependencies, so that the page also works from a file and offline.
 * First the formulas, as pure functions: the tests call them through window.bsnPlayground and
 * compare them with the package. Then the state, the page, its figures and its events. */
(function () {
  "use strict";

  // ---------------------------------------------------------------- formulas

  const sigmoid = (x) => 1 / (1 + Math.exp(-x));

  /** The quantities of a neuron in the state {a, s, t, tau} that an estimator may use. */
  function neuron({ a, s, t, tau }) {
    const theta = s * a, f = (b) => (b - t) ** 2, df = (b) => 2 * (b - t);
    return { s, t, tau, theta, f, df, p: sigmoid(theta), q: sigmoid(-theta) }; // q: 1 - p, never rounded to 0
  }

  const step = (c, u) => (u < c.p ? 1 : 0); // the sample, by the book's contract
  const score = (c, b) => c.s * (b ? c.q : -c.p); // s (b - p), the derivative of log P(b)
  const baseline = (c) => c.q * c.f(1) + c.p * c.f(0); // E[(b - p)² f] / E[(b - p)²]; p (1 - p) cancels
  const exactGradient = (c) => c.s * c.p * c.q * (c.f(1) - c.f(0));
  const relaxed = (c, u) => sigmoid((c.theta - Math.log(u / (1 - u))) / c.tau); // y, above 1/2 where b is 1
  const bump = (c, y) => (y * (1 - y) * c.s) / c.tau; // the derivative of `relaxed`
  const difference = (c, u) => c.f(1 - u < c.p ? 1 : 0) - c.f(step(c, u)); // f(b2) - f(b1)

  const OF_SAMPLE = { // name: label, gradient from the sample b
    "pass-through": ["Straight-through, pass-through", (c, b) => c.df(b)],
    "sigmoid-adjusted": ["Straight-through, sigmoid-adjusted", (c, b) => c.df(b) * c.s * c.p * c.q],
    "fires-only": ["Straight-through, fires-only", (c, b) => c.df(b) * b],
    reinforce: ["REINFORCE", (c, b) => c.f(b) * score(c, b)],
    "variance-adjusted": ["REINFORCE, variance-adjusted", (c, b) => (c.f(b) - baseline(c)) * score(c, b)],
    reinmax: ["ReinMax", (c, b) => 0.5 * c.df(b) * Math.abs(score(c, b))],
  };
  const OF_NOISE = { // name: label, gradient from the noise u itself, sample
    "st-gumbel": ["ST-Gumbel", (c, u) => c.df(step(c, u)) * bump(c, relaxed(c, u)), step],
    concrete: ["Concrete", (c, u) => c.df(relaxed(c, u)) * bump(c, relaxed(c, u)), relaxed],
    arm: ["ARM", (c, u) => difference(c, u) * (u - 0.5) * c.s, step],
    disarm: ["DisARM",
      (c, u) => 0.5 * difference(c, u) * (-1) ** step(c, u) * sigmoid(Math.abs(c.theta)) * c.s, step],
  };
  const ESTIMATORS = { ...OF_SAMPLE, ...OF_NOISE };
  const sample = (name, c, u) => (OF_NOISE[name]?.[2] ?? step)(c, u);
  const gradient = (name, c, u) => ESTIMATORS[name][1](c, name in OF_SAMPLE ? step(c, u) : u);

  /** The logits of a descent with learning rate r, one step per noise; `exact` needs only their number. */
  function descent(name, state, noises) {
    let a = state.a;
    return [a, ...Array.from(noises, (u) => {
      const c = neuron({ ...state, a });
      return (a -= state.r * (name === "exact" ? exactGradient(c) : gradient(name, c, u)));
    })];
  }

  // Gauss-Legendre with 8 points on [-1, 1]: each also at minus its place
  const LEGENDRE = [ // place, weight
    [0.1834346424956498, 0.362683783378362], [0.525532409916329, 0.3137066458778873],
    [0.7966664774136267, 0.2223810344533745], [0.9602898564975363, 0.1012285362903763],
  ];

  /** Gradients and weights whose weighted sum is the expectation. */
  function outcomes(name, c) {
    const of = ESTIMATORS[name][1];
    if (name in OF_SAMPLE) return [[of(c, 1), c.p], [of(c, 0), c.q]];
    // An integral over x = logit u, in panels that end at every jump and grow away from it.
    const edges = [-40, 40], result = [];
    for (const [centre, width] of [[c.theta, Math.min(1, c.tau)], [0, 1], [-c.theta, 1]]) {
      for (const r of [0, 1, 2, 4, 8, 16, 32]) edges.push(centre - r * width, centre + r * width);
    }
    edges.sort((x, y) => x - y);
    for (let i = 1; i < edges.length; i++) {
      const half = (edges[i] - edges[i - 1]) / 2, middle = (edges[i] + edges[i - 1]) / 2;
      if (half < 1e-12 || Math.abs(middle) > 40) continue; // empty, or never reached
      for (const [place, weight] of LEGENDRE) {
        for (const x of [middle - half * place, middle + half * place]) {
          result.push([of(c, sigmoid(x)), weight * half * sigmoid(x) * sigmoid(-x)]);
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
    r: ["Learning rate", 0.1, 10, 0.1, 1],
    tau: ["Temperature τ", 0.1, 5, 0.1, 1],
    seed: ["Seed", 1, 2 ** 31, 1, 1], // no control of its own: "Draw again" counts it up
  };
  const CONTROLS = ["tau", "a", "s", "t", "n", "r"];
  const FIRST = { e: "sigmoid-adjusted", e2: "reinforce" }; // the estimators at the start
  const START = { a: -1, s: 1, t: 0.45, r: 1 };
  const PRESETS = {
    "1. Wrong direction": { ...START, ...FIRST },
    "2. Right but noisy": { ...START, e: "reinforce", e2: "variance-adjusted" },
    "3. Temperature": { ...START, e: "concrete", e2: "st-gumbel", tau: 0.5 },
  };
  const STEPS = 300, RUNS = 12; // of the descents

  const toHash = (state) =>
    "#" + ["a", "s", "t", "e", "e2", "r", "n", "tau", "seed"].map((key) => `${key}=${state[key]}`).join("&");

  /** The number that a text means for an input, within its range; `otherwise` where it is none. */
  function read(key, text, otherwise) {
    const [, low, high, by] = INPUTS[key], number = parseFloat(text);
    if (!Number.isFinite(number)) return otherwise;
    return Math.min(high, Math.max(low, by >= 1 ? Math.round(number) : number));
  }

  /** The state that a link names; what it leaves out or gets wrong is as at the start. */
  function fromHash(hash) {
    const given = new URLSearchParams(hash.slice(1)), state = {};
    for (const key in FIRST) {
      state[key] = Object.hasOwn(ESTIMATORS, given.get(key)) ? given.get(key) : FIRST[key];
    }
    for (const key in INPUTS) state[key] = read(key, given.get(key), INPUTS[key][4]);
    return state;
  }

  window.bsnPlayground = {
    names: Object.keys(ESTIMATORS), summary, noise, toHash, fromHash, descent,
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
  const select = ([id, label]) => `<div class="pg-control"><label for="pg-${id}">${label}</label>
    <select id="pg-${id}">${Object.keys(ESTIMATORS).map(option).join("")}</select></div>`;
  const option = (name) => `<option value="${name}">${ESTIMATORS[name][0]}</option>`;
  const button = (name) => `<button type="button">${name}</button>`;
  const figure = (id, title) =>
    `<figure class="pg-figure"><figcaption>${title}</figcaption><div id="pg-${id}"></div></figure>`;
  const key = (mark, text) => `<span><i class="pg-${mark}" aria-hidden="true"></i>${text}</span>`;
  const row = (id, name) =>
    `<tr><th scope="row">${name}</th><td id="pg-${id}"></td><td id="pg-${id}-sampled">–</td></tr>`;

  root.innerHTML = `
    <div class="pg-controls" role="group" aria-label="Settings">
      ${[["e", "Estimator"], ["e2", "Second estimator"]].map(select).join("")}
      ${CONTROLS.map(control).join("")}
      <div class="pg-buttons"><button type="button" id="pg-draw">Draw again</button>
        <button type="button" id="pg-reset">Reset</button><span id="pg-seed"></span></div>
    </div>
    <div class="pg-presets" id="pg-presets" role="group" aria-label="Settings to try">
      <span>Try</span> ${Object.keys(PRESETS).map(button).join("")}</div>
    <p id="pg-verdict"></p>
    <p class="pg-hidden" role="status" id="pg-live"></p>
    <div class="pg-play" role="group" aria-label="Descent"><button type="button" id="pg-play">Play</button>
      <input type="range" id="pg-step" aria-label="Steps of the descent" min="0" max="${STEPS}" step="1">
      <span id="pg-steps"></span></div>
    <div class="pg-pair">${["e", "e2"].map((id) => figure("descent-" + id,
      `<b id="pg-name-${id}"></b><br><span id="pg-outcome-${id}"></span>`)).join("")}</div>
    <div class="pg-legend">${key("exact", "exact descent")}${key("run", `${RUNS} runs with estimates`)}</div>
    ${figure("strip", `<b>The samples of the first estimator.</b> <span id="pg-p"></span>`)}
    <div class="pg-pair">${figure("histogram", "<b>Its gradient estimates,</b> one per sample")}
      ${figure("curve", "<b>The same at every logit.</b> Drag to move a")}</div>
    <div class="pg-legend">${key("exact", "exact gradient")}${key("mean", "the estimator’s mean")}
      ${key("draws", "draws; mean ± one standard deviation")}
      ${key("sampled", "mean of these draws ± its standard error")}</div>
    <table class="pg-table"><caption class="pg-hidden">The first estimator in numbers</caption>
      <thead><tr><td></td>
      <th scope="col">Exact</th><th scope="col">In these <span id="pg-count"></span> draws</th></tr></thead>
      <tbody>${row("gradient", "Gradient of E[f]")}${row("mean", "Estimator’s mean")}
      ${row("bias", "Its bias")}${row("variance", "Its variance")}</tbody></table>`;

  let state = fromHash(location.hash);
  let timer, drawnWidth;
  let paths = {}, shown = STEPS, frame = 0; // the descents, how many of their steps are shown, the animation

  /** Draw the state with some changes; soon after tell the address bar and screen readers. */
  function update(changes) {
    Object.assign(state, changes);
    pause();
    shown = STEPS;
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
    const spread = deviation < 1e-9 ? "Every sample gives the same estimate."
      : `Individual estimates vary by ${format(deviation)} (standard deviation)${ratio}.`;
    const why = t === 0.5 ? "Both outputs cost the same" : "The neuron is saturated: p is almost 0 or 1";
    const aim = due ? `The exact gradient is ${format(exact)}: descent ${way(exact)} a, towards ${
      exact > 0 ? 0 : 1}.` : `${why}, so the exact gradient vanishes.`;
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

    for (const id in FIRST) at(id).value = state[id];
    for (const name of CONTROLS) at(name).value = at(name + "-number").value = state[name];
    const heated = [state.e, state.e2].some((name) => ["concrete", "st-gumbel"].includes(name));
    at("tau").disabled = at("tau-number").disabled = !heated;
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
    const long = noise(state.seed + 0x9e3779b9, STEPS * RUNS), exact = descent("exact", state, Array(STEPS));
    for (const id in FIRST) {
      const run = (_, k) => descent(state[id], state, long.slice(k * STEPS, (k + 1) * STEPS));
      paths[id] = { exact, runs: Array.from({ length: RUNS }, run) };
    }
    drawnWidth = root.clientWidth;
    if (!drawnWidth) return; // not laid out yet: the observer below comes back
    for (const id in FIRST) drawDescent(id);
    showSteps();
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

  const TALL = 6; // the descents' axis ends at ± this, whatever the settings
  const clipped = (a) => Math.max(-TALL, Math.min(TALL, a));

  function drawDescent(id) {
    const { exact, runs } = paths[id], place = "descent-" + id;
    const { x, y, grid } = axes(place, [0, STEPS], [-TALL, TALL]);
    const line = (kind, logits) => path(kind, "M" + logits.map((a, k) => `${x(k)} ${y(clipped(a))}`).join("L"),
      `clip-path="url(#pg-clip-${id})"`);
    const window = `<rect x="${LEFT - 2}" y="0" height="240" width="0"/>`; // grows with the step shown
    draw(place, 240, "", `<clipPath id="pg-clip-${id}">${window}</clipPath>` + grid + runs.map((run) => line("run", run)).join("") + line("exact", exact)
      + path("here", "") + text(LEFT + 6, TOP - 7, "start", "logit a, by step"));
  }

  /** Show the descents up to the step `shown`, in the figures and in words. */
  function showSteps() {
    const count = Math.floor(shown), fires = (a) => sigmoid(state.s * a);
    at("step").value = count;
    at("steps").textContent = `Step ${count} of ${STEPS}`;
    for (const id in FIRST) {
      const { exact, runs } = paths[id], svg = at("descent-" + id).firstChild;
      const x = LEFT + (count / STEPS) * (at("descent-" + id).clientWidth - RIGHT - LEFT);
      const mean = runs.reduce((sum, run) => sum + fires(run[count]), 0) / RUNS;
      const [name] = ESTIMATORS[state[id]], exactly = fires(exact[count]).toFixed(2);
      const words = `p after ${count} steps: ${mean.toFixed(2)} on average, exact ${exactly}`;
      at("name-" + id).textContent = name;
      at("outcome-" + id).textContent = words;
      svg.setAttribute("aria-label", `Descent of the logit by ${name}, ${RUNS} runs. ${words}`);
      svg.querySelector("rect").setAttribute("width", Math.max(0, x - LEFT + 2));
      svg.querySelector(".pg-here").setAttribute("d", count < STEPS ? `M${x} ${TOP}V${BOTTOM}` : "");
    }
  }

  const SPEED = 60; // steps per second

  function pause() {
    cancelAnimationFrame(frame);
    frame = 0;
    at("play").textContent = "Play";
  }

  function play() {
    if (frame) return pause();
    let before = performance.now();
    if (shown >= STEPS) shown = 0;
    at("play").textContent = "Pause";
    const advance = (now) => {
      shown = Math.min(STEPS, shown + (Math.max(0, now - before) / 1000) * SPEED);
      before = now;
      showSteps();
      if (shown >= STEPS) pause();
      else frame = requestAnimationFrame(advance);
    };
    frame = requestAnimationFrame(advance);
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

  for (const id in FIRST) at(id).addEventListener("change", () => update({ [id]: at(id).value }));
  at("play").addEventListener("click", play);
  at("step").addEventListener("input", () => {
    pause();
    shown = +at("step").value;
    showSteps();
  });
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

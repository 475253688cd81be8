"use strict";
(() => {
  const survey = JSON.parse(document.getElementById("survey").textContent);
  const texts = survey.texts;
  const main = document.getElementById("main");
  const header = document.querySelector("header");
  const CANNOT_TELL = "cannot_tell", NONE = "none";
  const KEYS = "123456789abcdefghijklmnopqrstuvwxyz";
  const CODE = /^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/;
  const FIXATION = 600, MASK = 200, FRAME = 9; // ms; a picture ends at the frame nearest to its time
  const store = `artattack-survey:${survey.survey}:`;
  const say = (key, values = {}) => texts[key].replace(/\{(\w+)\}/g, (all, name) => values[name] ?? texts[name] ?? all);

  // The order of pictures follows from the survey's seed and the code alone.
  function hash(text) {
    let h = 2166136261; // FNV-1a, then the last step of MurmurHash3
    for (const byte of new TextEncoder().encode(text)) h = Math.imul(h ^ byte, 16777619);
    h = Math.imul(h ^ (h >>> 16), 2246822507);
    h = Math.imul(h ^ (h >>> 13), 3266489909);
    return (h ^ (h >>> 16)) >>> 0;
  }
  function random(seed) { // mulberry32
    let state = seed;
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }
  function shuffled(items, draw) {
    const list = [...items];
    for (let i = list.length - 1; i > 0; i--) {
      const j = Math.floor(draw() * (i + 1));
      [list[i], list[j]] = [list[j], list[i]];
    }
    return list;
  }
  function trialsOf(code) {
    const number = /\d{1,9}$/.exec(code); // numbered codes balance the versions exactly, others on average
    const row = number ? Number(number[0]) : hash(`${survey.seed}:row:${code}`);
    const draw = random(hash(`${survey.seed}:order:${code}`));
    const shown = survey.photos.map((versions, i) => { // a row of the Latin square
      const n = versions.length;
      for (let k = 0; k < n; k++) {
        const picture = versions[(i + row + k) % n];
        if (picture) return picture;
      }
    });
    const trials = shuffled(shown, draw).slice(0, survey.per_person).map((picture) => ({ picture, role: "trial" }));
    const checks = shuffled(survey.attention, draw);
    const n = trials.length;
    checks.forEach((picture, k) => {
      trials.splice(Math.floor(((k + 1) * n) / (checks.length + 1)) + k, 0, { picture, role: "attention" });
    });
    return [...survey.practice.map((picture) => ({ picture, role: "practice" })), ...trials];
  }

  let storage = null;
  try {
    localStorage.setItem(store, "1");
    localStorage.removeItem(store);
    storage = localStorage;
  } catch { /* the page says so */ }
  let state = null;
  let trials = [];
  let onKey = () => false;
  const keep = () => {
    if (!storage) return;
    storage.setItem(store + state.participant, JSON.stringify(state));
    storage.setItem(`${store}:last`, state.participant);
  };
  const recall = (code) => {
    try {
      const found = JSON.parse(storage?.getItem(store + code) ?? "null");
      return found && Array.isArray(found.answers) && found.answers.length <= trialsOf(code).length ? found : null;
    } catch {
      return null;
    }
  };

  function el(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value !== null) node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }
  function show(node, focus) {
    onKey = () => false;
    main.replaceChildren(node);
    window.scrollTo(0, 0);
    (focus ?? node.querySelector("h1, h2"))?.focus({ preventScroll: true });
  }
  const heading = (text, level = "h1") => el(level, { tabindex: -1, style: "outline: none" }, text);
  const button = (text, action, attributes = {}) => el("button", { type: "button", onclick: action, ...attributes }, text);
  function place() {
    header.hidden = !state || !state.agreed;
    if (header.hidden) return;
    const practice = survey.practice.length, done = state.answers.length, total = trials.length - practice;
    document.getElementById("code").textContent = state.participant;
    const bar = document.getElementById("progress");
    bar.max = trials.length;
    bar.value = done;
    bar.setAttribute("aria-label", title(done));
    document.getElementById("place").textContent = done < practice ? texts.practice : `${Math.min(done - practice + 1, total)} / ${total}`;
  }
  function title(index) {
    const practice = survey.practice.length;
    if (index < practice) return texts.practice;
    return say("picture", { n: Math.min(index - practice + 1, trials.length - practice), total: trials.length - practice });
  }

  function start() {
    state = null;
    header.hidden = true;
    const last = storage?.getItem(`${store}:last`) ?? "";
    const input = el("input", { type: "text", id: "code-input", autocomplete: "off", autocapitalize: "off", spellcheck: "false", maxlength: 32, "aria-describedby": "code-hint code-wrong" });
    const wrong = el("p", { class: "wrong", id: "code-wrong", role: "alert" });
    const found = el("p", { class: "meta", id: "found", "aria-live": "polite" });
    const look = () => {
      const code = input.value.trim(), before = CODE.test(code) ? recall(code) : null;
      found.textContent = before ? say("resume", { code, done: Math.max(0, before.answers.length - survey.practice.length), total: trialsOf(code).length - survey.practice.length }) : "";
    };
    input.value = last;
    input.addEventListener("input", look);
    const enter = () => {
      const code = input.value.trim();
      if (!CODE.test(code)) {
        wrong.textContent = texts.code_wrong;
        input.focus();
        return;
      }
      open(code);
    };
    const draw = () => {
      const letters = "abcdefghjkmnpqrstuvwxyz23456789";
      input.value = [...crypto.getRandomValues(new Uint8Array(8))].map((b) => letters[b % letters.length]).join("");
      wrong.textContent = "";
      look();
      input.focus();
    };
    show(
      el("form", { class: "text", onsubmit: (event) => { event.preventDefault(); enter(); } },
        heading(texts.title), el("p", {}, texts.welcome),
        el("label", { class: "field", for: "code-input" }, texts.code),
        el("div", { class: "entry" }, input, button(texts.draw_code, draw)),
        el("p", { class: "meta", id: "code-hint" }, texts.code_hint), wrong, found,
        el("div", { class: "row" }, el("button", { type: "submit", class: "main" }, texts.go_on)),
        el("p", { class: "meta" }, storage ? texts.kept : texts.no_storage)),
      input);
    look();
  }

  function open(code) {
    trials = trialsOf(code);
    state = recall(code) ?? { participant: code, agreed: false, started: "", finished: "", showings: {}, answers: [] };
    if (!state.agreed) return consent();
    place();
    if (state.answers.length >= trials.length) return end();
    return state.answers.length ? pause() : how();
  }

  function consent() {
    const next = button(texts.go_on, () => {
      state.agreed = true;
      state.started = new Date().toISOString();
      keep();
      how();
    }, { class: "main", disabled: true });
    const tick = el("input", { type: "checkbox", id: "agree", onchange: () => { next.disabled = !tick.checked; } });
    show(el("div", { class: "text" }, heading(texts.consent_title), ...survey.consent.map((paragraph) => el("p", {}, paragraph)),
      el("label", { class: "tick" }, tick, el("span", {}, texts.agree)), el("div", { class: "row" }, next)));
  }

  function how() {
    place();
    const lines = [survey.seconds === null ? "how_look" : "how_brief", "how_guess", "how_keys", ...(survey.practice.length ? ["how_practice"] : [])];
    message("how_title", el("ul", {}, ...lines.map((line) => el("li", {}, say(line)))), texts.begin);
  }
  const pause = () => message("title", el("p", {}, texts.ready), texts.go_on);
  function practised() {
    const total = trials.length - survey.practice.length;
    const each = 6 + (survey.seconds ?? 2) + 3 * survey.asks.length; // s
    message("practice_done_title", el("p", {}, say("practice_done", { total, minutes: Math.max(1, Math.round((total * each) / 60)) })), texts.begin);
  }
  function message(key, body, word) {
    const go = button(word, trial, { class: "main", id: "go" });
    show(el("div", { class: "text" }, heading(texts[key]), body, el("div", { class: "row" }, go)), go);
  }

  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  let turn = 0;

  async function trial() {
    const mine = ++turn;
    const index = state.answers.length;
    if (index >= trials.length) return end();
    place();
    const { picture, role } = trials[index];
    const found = survey.pictures[picture];
    const image = el("img", { src: found.src, alt: title(index), draggable: "false" });
    await image.decode().catch(() => undefined);
    state.showings[index] = (state.showings[index] ?? 0) + 1;
    keep();
    const told = { trial: index + 1, role, picture, answer: "", style: null, altered: null, seconds: null, shown_seconds: null, showings: state.showings[index] };
    const stage = el("div", { class: "stage", style: `--ratio: ${found.ratio}` });
    if (survey.seconds === null) {
      stage.append(image);
      const from = performance.now();
      ask(0, told, stage, from, () => { told.shown_seconds = (performance.now() - from) / 1000; });
      return;
    }
    const cross = el("span", { class: "cross", role: "img", "aria-label": texts.hold }, "+");
    stage.append(cross);
    show(el("div", { class: "trial alone" }, stage), stage);
    await wait(FIXATION);
    if (mine !== turn) return;
    stage.replaceChildren(image);
    await frame();
    const from = await frame();
    let now = from;
    while (now - from < survey.seconds * 1000 - FRAME) now = await frame();
    told.shown_seconds = (now - from) / 1000;
    stage.replaceChildren();
    if (survey.mask) {
      stage.append(noise(hash(`${survey.seed}:mask:${picture}`)));
      await wait(MASK);
    }
    if (mine !== turn) return;
    ask(0, told, null, performance.now(), () => undefined);
  }

  function noise(seed) { // octaves of random blocks: about as much of each size, as in photos
    const canvas = el("canvas", { width: 256, height: 256, "aria-hidden": "true" });
    const draw = random(seed), context = canvas.getContext("2d");
    for (let size = 128; size >= 2; size /= 2) {
      context.globalAlpha = size === 128 ? 1 : 0.5;
      for (let y = 0; y < 256; y += size) {
        for (let x = 0; x < 256; x += size) {
          context.fillStyle = `rgb(${[0, 0, 0].map(() => Math.floor(256 * draw())).join(" ")})`;
          context.fillRect(x, y, size, size);
        }
      }
    }
    return canvas;
  }

  const steps = ["class", ...survey.asks];
  function choicesOf(step, picture) {
    const cannot = { value: CANNOT_TELL, name: texts.cannot_tell, other: true, key: "0" };
    if (step === "altered") return [{ value: "yes", name: texts.yes }, { value: "no", name: texts.no }, cannot];
    if (step === "style") {
      const styles = survey.styles.map((style) => ({ value: style.id, name: style.name, src: style.src }));
      return [...styles, { value: NONE, name: texts.none }, cannot];
    }
    const named = survey.pictures[picture].grid.map((value) => ({ value, name: survey.classes[value] }));
    return [...named.sort((a, b) => a.name.localeCompare(b.name, survey.language)), cannot];
  }

  function ask(at, told, stage, from, answered) {
    const step = steps[at];
    const question = { class: "question", style: "question_style", altered: "question_altered" }[step];
    let chosen = null;
    const next = button(texts.next, forward, { class: "main", id: "next", disabled: true });
    const labels = choicesOf(step, told.picture).map((choice, i) => {
      const input = el("input", { type: "radio", name: "choice", value: choice.value, onchange: () => pick(choice.value) });
      const key = choice.key ?? KEYS[i];
      return { key, input, value: choice.value, other: choice.other, node: el("label", { class: choice.other ? "choice other" : "choice" }, input,
        ...(key ? [el("kbd", { "aria-hidden": "true" }, key)] : []), ...(choice.src ? [el("img", { src: choice.src, alt: "" })] : []), el("span", {}, choice.name)) };
    });
    function pick(value) {
      chosen = value;
      next.disabled = false;
    }
    function forward() {
      if (chosen === null) return;
      if (step === "class") {
        told.answer = chosen;
        told.seconds = (performance.now() - from) / 1000;
        answered();
      } else told[step] = chosen;
      if (at + 1 < steps.length) return ask(at + 1, told, stage, from, answered);
      state.answers.push(told);
      if (state.answers.length === trials.length) state.finished = new Date().toISOString();
      keep();
      const practice = survey.practice.length;
      return practice && state.answers.length === practice ? (place(), practised()) : trial();
    }
    const grid = el("div", { class: "choices" }, ...labels.filter((label) => !label.other).map((label) => label.node));
    const others = labels.filter((label) => label.other).map((label) => label.node);
    const group = el("fieldset", {}, el("legend", {}, heading(texts[question], "h2")), grid, ...others);
    const form = el("form", { onsubmit: (event) => { event.preventDefault(); forward(); } }, group, el("div", { class: "forward" }, next));
    show(el("div", { class: stage ? "trial" : "trial asking alone" }, ...(stage ? [stage] : []), form));
    onKey = (event) => {
      if (event.key === "Enter" && chosen !== null && event.target !== next) {
        forward();
        return true;
      }
      const label = labels.find((one) => one.key === event.key.toLowerCase());
      if (!label) return false;
      label.input.checked = true;
      label.input.focus();
      pick(label.value);
      return true;
    };
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (onKey(event)) event.preventDefault();
  });

  const once = () => ({
    format: survey.format, version: survey.version, run: survey.run, survey: survey.survey, participant: state.participant, language: survey.language,
    classes: survey.ask_classes, shown: survey.seconds, mask: survey.mask, screen: `${innerWidth}x${innerHeight}@${devicePixelRatio}`,
    started: state.started, finished: state.finished, trials: trials.length,
  });
  function csv() {
    const cell = (value) => {
      const text = value === null || value === undefined ? "" : String(value);
      return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const rows = state.answers.map((answer) => ({ ...once(), ...answer }));
    return [Object.keys(rows[0]), ...rows.map(Object.values)].map((row) => row.map(cell).join(",") + "\n").join("");
  }
  const files = { json: ["application/json", () => `${JSON.stringify({ ...once(), answers: state.answers }, null, 1)}\n`], csv: ["text/csv", csv] };
  function save(kind) {
    const [type, content] = files[kind];
    const link = el("a", { href: URL.createObjectURL(new Blob([content()], { type })), download: `answers-${state.participant}.${kind}` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
  function end() {
    place();
    document.getElementById("place").textContent = "";
    const total = trials.length - survey.practice.length;
    const first = button(texts.save_json, () => save("json"), { class: "main", id: "save-json" });
    show(el("div", { class: "text" }, heading(texts.end_title), el("p", {}, say("end", { total })),
      el("div", { class: "row" }, first, button(texts.save_csv, () => save("csv"), { id: "save-csv" })),
      el("div", { class: "row" }, button(texts.another, () => { storage?.removeItem(`${store}:last`); start(); }, { id: "another" }))), first);
  }

  window.artattackSurvey = { trialsOf, file: (kind) => files[kind][1]() };
  start();
})();

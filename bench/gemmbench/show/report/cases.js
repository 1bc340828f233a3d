// The table of all cases: sorts, filters, opens the detail of a case and draws its pictures.
// What it shows comes from files that others wrote: it goes into the page as text, never as markup.
(() => {
  "use strict";

  const STEP = 100; // rows in the page at a time: ten thousand would take seconds to lay out
  const QUIET_MS = 150; // Safari refuses more than 100 changes of the address in 30 s

  // How figures are written, as `show/text.py` does.

  const formats = new Map();

  /** A number to so many significant digits; empty where it is not known. */
  function digits(value, count = 4) {
    if (value === null) return "";
    if (value === 0) return "0";
    if (!formats.has(count)) {
      const options = { minimumSignificantDigits: count, maximumSignificantDigits: count };
      formats.set(count, new Intl.NumberFormat("en-US", options));
    }
    return formats.get(count).format(value);
  }

  /** What microseconds are told in, where they are about so large: [how many, name]. */
  function unitOf(us) {
    return us >= 1e6 ? [1e6, "s"] : us >= 1e3 ? [1e3, "ms"] : [1, "µs"];
  }

  function duration(us, count = 4) {
    if (us === null) return "";
    const [scale, unit] = unitOf(us);
    return `${digits(us / scale, count)} ${unit}`;
  }

  const percent = (value) => (value === null ? "" : `${digits(value, 3)}%`);
  const whole = new Intl.NumberFormat("en-US");
  const counted = (count) => whole.format(count);

  // Elements. Strings among the children become text.

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null && child !== ""));
    return node;
  }

  const el = (name, attributes = {}, ...children) =>
    fill(document.createElement(name), attributes, children);
  const draw = (name, attributes = {}, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

  // Pictures: small SVGs whose colours are the page's variables, by class.

  const WIDTH = 440;
  const LEFT = 62;
  const RIGHT = WIDTH - 14;

  const line = (x1, y1, x2, y2, name) => draw("line", { x1, y1, x2, y2, class: name });
  const box = (x, y, width, height, name) =>
    draw("rect", { x, y, width: Math.max(width, 0.5), height: Math.max(height, 0), class: name });
  const word = (x, y, text, anchor = "start", name = null) =>
    draw("text", { x, y, "text-anchor": anchor, class: name }, text);

  function picture(height, title, parts) {
    const attributes = { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": title };
    return draw("svg", attributes, ...parts);
  }

  /** About so many round values from low to high, each with its text. */
  function ticks(low, high, wanted) {
    const raw = (high - low) / wanted;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= 0.999 * raw);
    const places = Math.min(20, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
    const found = [];
    for (let place = Math.ceil(low / step - 1e-9); place * step <= high + 1e-9 * step; place += 1) {
      const options = { minimumFractionDigits: places, maximumFractionDigits: places };
      const value = place * step + 0; // no -0
      found.push([value, value.toLocaleString("en-US", options)]);
    }
    return found;
  }

  /** Values from low to high as pixels from `from` to `to`; a single value gets some room. */
  function scaled(low, high, from, to) {
    const room = high > low ? 0 : Math.abs(low) * 0.01 || 1;
    const [first, last] = [low - room, high + room];
    const at = (value) => from + ((value - first) / (last - first)) * (to - from);
    return Object.assign(at, { low: first, high: last });
  }

  const known = (values) => values.filter((value) => value !== null);

  /** The spread of the samples, with the time that is told and its interval, and of each repeat. */
  function histogram(samples, time) {
    const [, low, high, clean, disturbed, , , , spreads] = samples;
    const quartiles = spreads.filter(([, counts]) => counts).flatMap((one) => one.slice(2));
    const ends = known([low, high, ...time, ...quartiles]);
    const [scale, unit] = unitOf(Math.max(...ends));
    const x = scaled(Math.min(...ends) / scale, Math.max(...ends) / scale, LEFT, RIGHT);
    const rows = spreads.length > 1 ? spreads : [];
    const floor = 132;
    const base = floor + 4 + 13 * rows.length;
    const most = Math.max(...clean.map((count, bin) => count + (disturbed[bin] || 0)), 1);
    const y = scaled(0, most, floor, 10);
    const parts = [];
    if (time[1] !== null && time[2] !== null) {
      const from = x(time[1] / scale);
      parts.push(box(from, 6, x(time[2] / scale) - from, base - 6, "case-band"));
    }
    for (const [value, text] of ticks(0, most, 3)) {
      if (Number.isInteger(value)) {
        parts.push(line(LEFT, y(value), RIGHT, y(value), "case-grid"));
        parts.push(word(LEFT - 5, y(value) + 4, text, "end"));
      }
    }
    const width = (high - low) / clean.length / scale;
    clean.forEach((count, bin) => {
      const from = x(low / scale + bin * width);
      const wide = x(low / scale + (bin + 1) * width) - from;
      const spoilt = disturbed[bin] || 0;
      if (count) parts.push(box(from, y(count), wide - 0.6, floor - y(count), "case-bar"));
      if (spoilt) {
        const tall = y(count) - y(count + spoilt);
        parts.push(box(from + 0.5, y(count + spoilt), wide - 1.6, tall, "case-hollow"));
      }
    });
    const within = (us) => Math.min(Math.max(x(us / scale), LEFT), RIGHT);
    rows.forEach(([repeat, counts, first, middle, third], place) => {
      const at = floor + 12 + 13 * place;
      parts.push(word(LEFT - 5, at + 4, `repeat ${repeat + 1}`, "end", counts ? null : "case-soft"));
      if (counts) {
        parts.push(line(within(first), at, within(third), at, "case-quartiles"));
      } else {
        parts.push(box(within(first), at - 2.5, within(third) - within(first), 5, "case-hollow"));
      }
      const from = x(middle / scale);
      if (from >= LEFT && from <= RIGHT) {
        parts.push(line(from, at - 5, from, at + 5, "case-line"));
      } else if (from > RIGHT) {
        parts.push(word(RIGHT - 4, at + 4, `${digits(middle / scale)} ${unit} →`, "end", "case-soft"));
      } else {
        parts.push(word(LEFT + 4, at + 4, `← ${digits(middle / scale)} ${unit}`, "start", "case-soft"));
      }
    });
    if (time[0] !== null) parts.push(line(x(time[0] / scale), 6, x(time[0] / scale), base, "case-time"));
    parts.push(line(LEFT, floor, RIGHT, floor, "case-axis"));
    for (const [value, text] of ticks(x.low, x.high, 5)) {
      parts.push(line(x(value), base, x(value), base + 4, "case-axis"));
      parts.push(word(x(value), base + 16, text, "middle"));
    }
    parts.push(line(LEFT, base, RIGHT, base, "case-axis"));
    parts.push(word((LEFT + RIGHT) / 2, base + 32, `time of a launch (${unit})`, "middle"));
    const ordinate = word(0, 0, samples[0] ? "samples" : "turns", "middle");
    ordinate.setAttribute("transform", `translate(12 ${(floor + 10) / 2}) rotate(-90)`);
    return picture(base + 40, "Distribution of the samples", [...parts, ordinate]);
  }

  /** The values of a column of turns, null where they were not seen; [] where none was. */
  function column(levels) {
    if (!levels) return [];
    const [low, high, at] = levels;
    const step = (high - low) / (data.levels.length - 1);
    return [...at].map((one) => (one === "." ? null : low + step * data.levels.indexOf(one)));
  }

  /** Time, clock, power and temperature turn by turn, one above the other. */
  function turnByTurn(turns, time, run) {
    const [taken, seams, hollow] = turns;
    const [times, clock, power, temperature] = turns.slice(3).map(column);
    const [scale, unit] = unitOf(Math.max(...known(times), 0));
    const size = Math.max(times.length, clock.length, power.length, temperature.length);
    const panels = [
      [`time (${unit})`, times.map((one) => one && one / scale), time.map((one) => one && one / scale), ""],
      ["clock (MHz)", clock, [run.boost_mhz], `boost clock ${run.boost_mhz} MHz`],
      ["power (W)", power, [run.limit_w], `power limit ${run.limit_w} W`],
      ["temperature (°C)", temperature, [], ""],
    ].filter(([, values]) => known(values).length);
    const x = scaled(0, size - 1, LEFT + 6, RIGHT - 6);
    const parts = [];
    panels.forEach(([name, values, marks, mark], panel) => {
      const top = 20 + 92 * panel;
      const ends = known([...values, ...marks]);
      const room = 0.08 * (Math.max(...ends) - Math.min(...ends));
      const y = scaled(Math.min(...ends) - room, Math.max(...ends) + room, top + 64, top);
      parts.push(word(LEFT, top - 6, name, "start", "case-strong"));
      for (const [value, text] of ticks(y.low, y.high, 3)) {
        parts.push(line(LEFT, y(value), RIGHT, y(value), "case-grid"));
        parts.push(word(LEFT - 5, y(value) + 4, text, "end"));
      }
      if (panel === 0 && known(marks).length === 3) {
        parts.push(box(LEFT, y(marks[2]), RIGHT - LEFT, y(marks[1]) - y(marks[2]), "case-band"));
      }
      if (known(marks).length) {
        parts.push(line(LEFT, y(marks[0]), RIGHT, y(marks[0]), mark ? "case-limit" : "case-time"));
        if (mark) parts.push(word(RIGHT, top - 6, `- - ${mark}`, "end"));
      }
      let before = null;
      values.forEach((value, turn) => {
        const isNew = seams.includes(turn);
        if (isNew) {
          const at = (x(turn) + x(turn - 1)) / 2;
          parts.push(line(at, top, at, top + 64, "case-seam"));
        }
        if (value === null) return;
        if (before !== null && !isNew) {
          parts.push(line(x(before), y(values[before]), x(turn), y(value), "case-path"));
        }
        before = turn;
      });
      values.forEach((value, turn) => {
        if (value === null) return;
        const name = hollow.includes(turn) ? "case-hollow" : "case-dot";
        parts.push(draw("circle", { cx: x(turn), cy: y(value), r: 2.4, class: name }));
      });
      parts.push(line(LEFT, top + 64, RIGHT, top + 64, "case-axis"));
    });
    const base = 20 + 92 * (panels.length - 1) + 64;
    const last = Math.max(size - 1, 1);
    for (const place of new Set([0, Math.round(last / 2), size - 1])) {
      const number = 1 + Math.round((place * (taken - 1)) / last);
      parts.push(word(x(place), base + 15, counted(number), "middle"));
    }
    const few = size < taken ? `; ${size} of ${counted(taken)} are drawn` : "";
    parts.push(word((LEFT + RIGHT) / 2, base + 31, `turn, in order of time${few}`, "middle"));
    return picture(base + 40, "Time, clock, power and temperature turn by turn", parts);
  }

  /** From the peak to the measured rate: what each cause takes. */
  function waterfall(gap) {
    const { unit, of, factors, said } = gap;
    const rates = [gap.peak];
    for (const factor of factors) rates.push(rates[rates.length - 1] * (factor ?? 1));
    const [from, to] = [112, WIDTH - 96];
    const x = scaled(0, Math.max(...rates), from, to);
    const parts = [];
    const row = (place, name, low, high, look) => {
      const top = 8 + 21 * place;
      const soft = said[place] === "not known" ? "case-soft" : null;
      parts.push(word(from - 6, top + 12, name, "end"));
      parts.push(box(x(low), top, x(high) - x(low), 16, look));
      parts.push(word(x(high) + 4, top + 12, said[place], "start", soft));
    };
    const base = 10 + 21 * (factors.length + 2);
    for (const [value, text] of ticks(0, x.high, 3)) {
      parts.push(line(x(value), 4, x(value), base, "case-grid"));
      parts.push(word(x(value), base + 14, text, "middle"));
    }
    row(0, of, 0, rates[0], "case-bar");
    factors.forEach((factor, place) => {
      const [before, after] = [rates[place], rates[place + 1]];
      const look = after > before ? "case-gain" : "case-loss";
      row(place + 1, data.causes[place], Math.min(before, after), Math.max(before, after), look);
      parts.push(line(x(before), 8 + 21 * place + 16, x(before), 8 + 21 * (place + 1), "case-axis"));
    });
    row(factors.length + 1, "measured", 0, rates[rates.length - 1], "case-bar");
    parts.push(line(from, 4, from, base, "case-axis"));
    parts.push(word((from + to) / 2, base + 30, unit, "middle"));
    return picture(base + 38, `From the ${of} to the measured rate`, parts);
  }

  // The detail of a case.

  const tag = (one) => el("span", { class: `tag ${one.tone || "plain"}` }, one.word || "not measured");

  const sign = (look, text) => el("span", { class: "case-sign" }, el("i", { class: look }), text);

  function figure(svg, title, caption) {
    const head = el("h4", {}, title);
    return el("figure", { class: "case-figure" }, head, svg, el("figcaption", {}, ...caption));
  }

  function samplesFigure(told, time, samples) {
    const [ofSamples, low, high, , disturbed, below, above, lost, spreads] = samples;
    const caption = [sign("case-bar", ofSamples ? "samples" : "medians of turns (no samples kept)")];
    if (disturbed.some((count) => count)) caption.push(sign("case-hollow", "disturbed, not counted"));
    if (told) caption.push(sign("case-time", `time ${told}`));
    const out = [[below, "below", low], [above, "above", high]].filter(([count]) => count);
    const beyond = out.map(([count, where, end]) => `${counted(count)} ${where} ${duration(end)}`);
    const bad = lost ? `, ${counted(lost)} of them disturbed` : "";
    if (beyond.length) caption.push(`Not drawn: ${beyond.join(" and ")}${bad}. `);
    if (spreads.length) caption.push("Grey: the quartiles of each repeat. ");
    if (spreads.some(([, counts]) => !counts)) {
      caption.push(sign("case-hollow", "quartiles of contended repeats: not counted, their samples not drawn"));
    }
    return figure(histogram(samples, time), "Samples", caption);
  }

  function turnsFigure(one, time, turns) {
    const [, , hollow, , ...sensors] = turns;
    const caption = [];
    if (hollow.length) {
      const why = "not counted: disturbed turns and contended repeats; times beyond the axis stand at its end";
      caption.push(sign("case-hollow", why));
    }
    if (!sensors.some(Boolean)) {
      caption.push("No sensor told the clock, the power or the temperature.");
    }
    return figure(turnByTurn(turns, time, data.runs[one.run]), "Turn by turn", caption);
  }

  function gapFigure(gap) {
    const caption = "Filled: rates. Hollow: what a cause takes; its percentage is of the bar before.";
    return figure(waterfall(gap), `Where the rest of the ${gap.of} went`, [caption]);
  }

  /** A command line that breaks between its words, not within --precision. */
  function commandOf(text) {
    return el("code", {}, ...text.split(" ").flatMap((word) => [el("span", {}, word), " "]));
  }

  function factsOf(form, values) {
    let place = 0;
    return data.forms[form].map(([head, heads]) => {
      const list = el("dl");
      for (const what of heads.map((one) => data.strings[one])) {
        const value = [values[place]].flat().map((one) => data.strings[one]).join(" ");
        place += 1;
        const said = what === "command" ? commandOf(value) : value;
        list.append(el("dt", {}, what), el("dd", {}, said));
      }
      return el("section", {}, el("h4", {}, data.strings[head]), list);
    });
  }

  function sourcesOf(gap) {
    const sources = gap.notes.map((text) => el("li", {}, text));
    return el("section", {}, el("h4", {}, "Where the gap's figures are from"), el("ul", {}, ...sources));
  }

  /** A gap with its texts in the place of their numbers. */
  function worded([unit, of, peak, factors, said, sentence, notes]) {
    const text = (place) => data.strings[place];
    return {
      peak, factors, unit: text(unit), of: text(of), sentence: text(sentence),
      said: said.map(text), notes: notes.map(text),
    };
  }

  function detailOf(one) {
    const [told, time, samples, turns, steps, whyNoGap, form, facts] = one.detail;
    const gap = steps && worded(steps);
    const figures = [];
    if (samples) figures.push(samplesFigure(data.strings[told], time, samples));
    if (turns && turns[3]) figures.push(turnsFigure(one, time, turns));
    if (gap) figures.push(gapFigure(gap));
    const why = !gap && one.status === "ok" ? data.strings[whyNoGap] : "";
    const title = [one.kernel, one.precision, one.shape, one.label].filter(Boolean).join(" · ");
    const close = el("button", { type: "button", class: "case-close" }, "Close");
    close.addEventListener("click", () => shut());
    const head = el("h3", { id: "case-title" }, `${title} `, tag(one));
    return el(
      "div",
      { class: "case-detail", id: "case-detail", role: "region", "aria-labelledby": "case-title" },
      el("div", { class: "case-head" }, head, close),
      one.said && el("p", { class: one.status === "ok" ? null : "case-reason" }, one.said),
      one.warnings && el("p", {}, el("strong", {}, "Warnings: "), one.warnings),
      gap && el("p", {}, gap.sentence),
      why && el("p", { class: "muted" }, `What holds it back is not known: ${why}.`),
      figures.length ? el("div", { class: "case-figures" }, ...figures) : null,
      el("div", { class: "case-facts" }, ...factsOf(form, facts), gap && sourcesOf(gap)),
    );
  }

  // The cases, read once.

  const data = JSON.parse(document.getElementById("cases-data").textContent);
  const cases = data.rows.map((cells, place) => {
    const one = { number: place + 1, place, detail: data.details[place] };
    data.columns.forEach((name, index) => {
      one[name] = cells[index];
    });
    for (const name of ["kernel", "tier", "precision", "shape", "label", "status", "verdict", "tone", "said", "warnings", "unit", "over"]) {
      one[name] = data.strings[one[name]];
    }
    one.runName = `${one.run + 1}: ${data.runs[one.run].name}`;
    one.word = one.status === "ok" ? one.verdict : one.status;
    const words = [one.runName, data.runs[one.run].device, one.kernel, one.tier, one.precision, one.shape, one.label];
    words.push(one.status, one.verdict, one.said, one.warnings);
    one.text = words.join("\n").toLowerCase();
    return one;
  });

  /** Places of texts in the order of the alphabet, numbers in them as numbers. */
  function alphabet(name) {
    const order = new Intl.Collator("en", { numeric: true });
    const texts = [...new Set(cases.map((one) => one[name]))].sort(order.compare);
    const places = new Map(texts.map((text, place) => [text, place]));
    return (one) => (one[name] === "" ? null : places.get(one[name]));
  }

  /** Places in a list of names; what it does not have comes after them. */
  function listed(name, names) {
    return (one) => (names.includes(one[name]) ? names.indexOf(one[name]) : names.length);
  }

  const number = (name) => (one) => one[name];
  const COLUMNS = [
    { id: "run", head: "run", key: number("run"), cell: (one) => String(one.run + 1) },
    { id: "kernel", head: "kernel", key: alphabet("kernel"), cell: opener },
    { id: "tier", head: "tier", key: listed("tier", data.tiers), cell: (one) => one.tier },
    { id: "precision", head: "precision", key: listed("precision", data.precisions), cell: (one) => one.precision },
    { id: "shape", head: "shape", key: number("shape_place"), cell: shapeCell },
    { id: "time", head: "time", isNumber: true, key: number("time"), cell: (one) => duration(one.time) },
    {
      id: "width", head: "±", isNumber: true, key: number("width"),
      hint: "Half of the time's 95% interval", cell: (one) => one.width !== null && `±${digits(one.width, 2)}%`,
    },
    {
      id: "rate", head: "rate", isNumber: true, isSparseApart: true, key: number("rate"),
      hint: "Sparse rates count the zeros, too, and are sorted after the dense ones", cell: rateCell,
    },
    {
      id: "peak", head: "% of peak", isNumber: true, isSparseApart: true, key: number("peak"),
      hint: "Of the spec sheet's peak: dense, of a sparse precision the sparse one", cell: peakCell,
    },
    {
      id: "roof", head: "% of roof", isNumber: true, key: number("roof"),
      hint: "Of what the device's own units were measured to reach", cell: (one) => percent(one.roof),
    },
    {
      id: "speedup", head: "speedup", isNumber: true, key: number("speedup"),
      hint: "Over the base of its ladder", cell: speedupCell,
    },
    { id: "verdict", head: "verdict", key: alphabet("word"), cell: verdictCell },
  ].filter(({ id, isNumber, key }) => {
    if (id === "run") return data.runs.length > 1;
    return !isNumber || id === "time" || cases.some((one) => key(one) !== null);
  });

  function opener(one) {
    const attributes = { href: `#case-${one.number}`, "aria-expanded": String(state.open === one.number) };
    return el("a", attributes, one.kernel || "(no name)");
  }

  function shapeCell(one) {
    return one.label ? [one.shape, el("small", {}, one.label)] : one.shape;
  }

  const unitIn = (text) => el("small", { class: "case-unit" }, `\u00a0${text}`);

  function rateCell(one) {
    return one.rate !== null && [digits(one.rate), unitIn(one.unit)];
  }

  function peakCell(one) {
    return one.peak !== null && [percent(one.peak), one.sparse ? unitIn("sparse") : ""];
  }

  function speedupCell(one) {
    if (one.is_base) return "base";
    if (one.speedup === null) return "";
    return [`${digits(one.speedup, 3)}×`, one.over ? el("small", {}, `over ${one.over}`) : ""];
  }

  function verdictCell(one) {
    const found = [tag(one)];
    if (one.warnings) {
      const attributes = { class: "case-warned", role: "img", "aria-label": "has warnings", title: one.warnings };
      found.push(el("span", attributes, "⚠"));
    }
    return one.said ? [...found, el("small", {}, one.said)] : found;
  }

  // What the reader asked for. Its names are those of the address, too.

  const FACETS = [
    ["run", (one) => one.runName],
    ["kernel", (one) => one.kernel],
    ["precision", (one) => one.precision],
    ["tier", (one) => one.tier],
    ["status", (one) => one.status],
    ["verdict", (one) => one.verdict],
  ].filter(([name]) => name !== "run" || data.runs.length > 1);
  const state = { sort: "", down: false, q: "", open: null, from: 0, to: STEP, wanted: {} };
  let matches = cases;

  const page = {};
  for (const name of ["app", "filters", "count", "before", "more", "table", "over"]) {
    page[name] = document.getElementById(`cases-${name}`);
  }
  const body = page.table.tBodies[0];
  const selects = new Map();

  /** The cases that match, and how many would match with another choice of one filter. */
  function filtered() {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const tallies = FACETS.map(() => new Map());
    const found = [];
    for (const one of cases) {
      if (!words.every((text) => one.text.includes(text))) continue;
      let missed = -1;
      let misses = 0;
      FACETS.forEach(([name, value], place) => {
        if (state.wanted[name] !== undefined && value(one) !== state.wanted[name]) {
          missed = place;
          misses += 1;
        }
      });
      if (misses === 0) found.push(one);
      if (misses > 1) continue;
      FACETS.forEach(([, value], place) => {
        if (misses && place !== missed) return;
        const text = value(one);
        tallies[place].set(text, (tallies[place].get(text) || 0) + 1);
      });
    }
    return [found, tallies];
  }

  /** Sorted; what has no value is last in both directions, sparse rates are before it, and equals
   * keep the ladder's order. */
  function sorted(found) {
    const column = COLUMNS.find(({ id }) => id === state.sort);
    if (!column) return found;
    const turn = state.down ? -1 : 1;
    const apart = (one, other) => (column.isSparseApart ? one.sparse - other.sparse : 0);
    return found
      .map((one) => [column.key(one), one])
      .sort(([a, one], [b, other]) => {
        if (a === null || b === null) return (a === null) - (b === null) || one.place - other.place;
        return apart(one, other) || turn * (a - b) || one.place - other.place;
      })
      .map(([, one]) => one);
  }

  // The page.

  function rowOf(one) {
    const row = el("tr", { id: `case-${one.number}`, class: state.open === one.number ? "case-open" : null });
    for (const { id, isNumber, cell } of COLUMNS) {
      const shown = [cell(one) || ""].flat();
      const isHead = id === "kernel";
      const attributes = { class: isNumber ? "num" : `case-${id}`, scope: isHead ? "row" : null };
      row.append(el(isHead ? "th" : "td", attributes, ...shown));
    }
    return row;
  }

  function rowsOf(some) {
    return some.flatMap((one) => {
      if (one.number !== state.open) return [rowOf(one)];
      const cell = el("td", { colspan: COLUMNS.length }, detailOf(one));
      return [rowOf(one), el("tr", { class: "case-below" }, cell)];
    });
  }

  function show() {
    const last = Math.min(state.to, matches.length);
    body.replaceChildren(...rowsOf(matches.slice(state.from, last)));
    const total = counted(cases.length);
    const part = last - state.from < matches.length;
    const shown = part ? `; rows ${counted(state.from + 1)} to ${counted(last)} are shown` : "";
    page.count.textContent =
      matches.length === 0
        ? `None of ${total} cases matches.`
        : `${counted(matches.length)} of ${total} cases match${shown}.`;
    page.before.hidden = state.from === 0;
    page.before.textContent = `Show the ${counted(Math.min(STEP, state.from))} before`;
    const rest = matches.length - last;
    page.more.hidden = rest === 0;
    page.more.textContent = `Show ${counted(Math.min(STEP, rest))} more of ${counted(rest)}`;
    for (const heading of page.table.tHead.querySelectorAll("th")) {
      const isSorted = heading.dataset.column === state.sort;
      heading.setAttribute("aria-sort", !isSorted ? "none" : state.down ? "descending" : "ascending");
    }
  }

  /** A table that fits needs no scrolling of its own, and its headings can stay in view. */
  function fit() {
    const scroller = page.table.parentElement;
    scroller.classList.toggle("case-fits", page.table.offsetWidth <= scroller.clientWidth);
  }

  function choices(tallies) {
    FACETS.forEach(([name], place) => {
      let sum = 0;
      for (const count of tallies[place].values()) sum += count;
      for (const option of selects.get(name).options) {
        const count = option.dataset.any ? sum : tallies[place].get(option.value) || 0;
        const text = `${option.dataset.any ? "all" : option.value || "(none)"} (${counted(count)})`;
        if (option.textContent !== text) option.textContent = text;
      }
    });
    const isAsked = state.q || Object.keys(state.wanted).length || state.sort;
    page.filters.querySelector("[type=reset]").hidden = !isAsked;
  }

  /** Look again for what matches; the first rows are shown, or those around the open one. */
  function refresh() {
    const [found, tallies] = filtered();
    matches = sorted(found);
    const place = matches.findIndex((one) => one.number === state.open);
    if (place < 0) state.open = null;
    state.from = place < 0 ? 0 : STEP * Math.floor(place / STEP);
    state.to = state.from + STEP;
    choices(tallies);
    show();
    remember();
  }

  const linkOf = (numbered) => body.querySelector(`#case-${numbered} a`);

  function open(numbered) {
    state.open = numbered;
    show();
    remember();
    linkOf(numbered)?.focus({ preventScroll: true });
  }

  function shut() {
    const was = state.open;
    if (was === null) return;
    state.open = null;
    show();
    remember();
    linkOf(was)?.focus();
  }

  // The address: #cases?sort=-rate&kernel=tiled&q=llama, or #case-17?… with a case open.

  let waiting = 0;

  function remember() {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      const asked = new URLSearchParams();
      if (state.sort) asked.set("sort", (state.down ? "-" : "") + state.sort);
      for (const [name, value] of Object.entries(state.wanted)) asked.set(name, value);
      if (state.q) asked.set("q", state.q);
      const query = asked.size ?? [...asked].length;
      const head = state.open === null ? "#cases" : `#case-${state.open}`;
      const isOurs = /^#case(s\?|-\d)/.test(location.hash);
      if (!query && state.open === null && !isOurs) return;
      try {
        history.replaceState(null, "", query ? `${head}?${asked}` : head);
      } catch {
        // The table works without an address that tells of it.
      }
    }, QUIET_MS);
  }

  /** Take up what the address asks for; an address of other parts of the page asks for nothing. */
  function recall() {
    const found = /^#case(?:s(?=\?)|-(\d{1,9}))(?:\?(.*))?$/.exec(location.hash);
    if (!found) return;
    const asked = new URLSearchParams(found[2] || "");
    const sort = asked.get("sort") || "";
    state.down = sort.startsWith("-");
    state.sort = COLUMNS.some(({ id }) => id === sort.replace(/^-/, "")) ? sort.replace(/^-/, "") : "";
    state.q = asked.get("q") || "";
    state.wanted = {};
    for (const [name] of FACETS) {
      const options = [...selects.get(name).options];
      const value = asked.get(name);
      if (options.some((option) => !option.dataset.any && option.value === value)) state.wanted[name] = value;
    }
    state.open = found[1] ? Number(found[1]) : null;
    page.filters.elements.q.value = state.q;
    pick();
    refresh();
    if (document.readyState === "complete") reveal();
    // A browser follows the address itself as the page is loaded: only then is it ours to move.
    else window.addEventListener("load", () => setTimeout(reveal), { once: true });
  }

  function reveal() {
    const target = state.open === null ? page.app.parentElement : body.querySelector(".case-open");
    target?.scrollIntoView({ block: "start", behavior: "instant" });
    if (state.open !== null) linkOf(state.open)?.focus({ preventScroll: true });
  }

  /** Set the selects to what is wanted. */
  function pick() {
    for (const [name, select] of selects) {
      const at = [...select.options].findIndex((one) => !one.dataset.any && one.value === state.wanted[name]);
      select.selectedIndex = Math.max(at, 0);
    }
  }

  function build() {
    const heads = COLUMNS.map(({ id, head, hint, isNumber }) => {
      const button = el("button", { type: "button", title: hint ? `${hint}. Sort by it` : "Sort by it" }, head);
      button.addEventListener("click", () => {
        // Up, down, then the ladder's own order.
        const isSame = state.sort === id;
        state.sort = isSame && state.down ? "" : id;
        state.down = isSame && !state.down;
        refresh();
      });
      const attributes = { scope: "col", "data-column": id, class: isNumber ? "num" : null };
      return el("th", attributes, button);
    });
    page.table.tHead.append(el("tr", {}, ...heads));
    const reset = page.filters.querySelector("[type=reset]");
    for (const [name, value] of FACETS) {
      const texts = [...new Set(cases.map(value))];
      const options = texts.map((text) => el("option", { value: text }));
      const select = el("select", { name }, el("option", { value: "", "data-any": "yes" }), ...options);
      select.addEventListener("change", () => {
        const [chosen] = select.selectedOptions;
        if (chosen.dataset.any) delete state.wanted[name];
        else state.wanted[name] = chosen.value;
        refresh();
      });
      selects.set(name, select);
      reset.before(el("label", {}, name, select));
    }
  }

  function listen() {
    page.filters.addEventListener("submit", (event) => event.preventDefault());
    page.filters.addEventListener("reset", (event) => {
      event.preventDefault();
      Object.assign(state, { sort: "", down: false, q: "", wanted: {} });
      page.filters.elements.q.value = "";
      pick();
      refresh();
      page.filters.elements.q.focus();
    });
    page.filters.elements.q.addEventListener("input", (event) => {
      state.q = event.target.value;
      refresh();
    });
    page.more.addEventListener("click", () => {
      const first = matches[state.to];
      state.to += STEP;
      show();
      if (page.more.hidden) linkOf(first.number)?.focus();
    });
    page.before.addEventListener("click", () => {
      const last = matches[state.from - 1];
      state.from -= STEP;
      show();
      if (page.before.hidden) linkOf(last.number)?.focus();
    });
    body.addEventListener("click", (event) => {
      if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      const row = event.target.closest("tr[id]");
      const isLink = event.target.closest("a");
      if (!row || (!isLink && String(getSelection()))) return; // it was text that was marked
      event.preventDefault();
      const numbered = Number(row.id.slice("case-".length));
      if (state.open === numbered) shut();
      else open(numbered);
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && state.open !== null && !event.target.closest("input, select")) shut();
    });
    window.addEventListener("hashchange", recall);
    new ResizeObserver(fit).observe(page.table); // asked directly, the width costs a layout
  }

  build();
  listen();
  page.over.textContent = data.speedups_over;
  page.over.hidden = !data.speedups_over;
  page.app.hidden = false;
  refresh();
  recall();
})();

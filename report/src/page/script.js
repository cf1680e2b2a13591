// Draws the figures of a page, lets them be filtered and asked, and sorts the table of points. The data stand in the
// element #data; nothing else is loaded.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const column = Object.fromEntries(data.columns.map(([name], at) => [name, at]));
  // What is left out, by attribute.
  const hidden = { run: new Set(), fabric: new Set(), size: new Set(), pattern: new Set() };
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Text for people, as the tables of the program write it.
  const bytes = (count) => {
    for (const [name, size] of [["GB", 2 ** 30], ["MB", 2 ** 20], ["KB", 2 ** 10]]) {
      if (count >= size) return (count % size ? (count / size).toFixed(1) : count / size) + " " + name;
    }
    return count + " B";
  };
  const number = (value) => {
    const size = Math.abs(value);
    if (size >= 1e9) return (value / 1e9).toFixed(2) + " G";
    if (size >= 1e6) return (value / 1e6).toFixed(2) + " M";
    if (size >= 1e4) return (value / 1e3).toFixed(1) + " k";
    if (size >= 100) return value.toFixed(0);
    if (size >= 10) return value.toFixed(1);
    if (size >= 0.1 || size === 0) return value.toFixed(2);
    return size >= 1e-3 ? value.toFixed(4) : value.toExponential(1);
  };
  const percent = (share) => (100 * share).toFixed(1) + " %";
  const tick = (value) => {
    for (const [name, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) if (value >= size) return value / size + " " + name;
    return String(Math.round(value * 1e6) / 1e6);
  };
  const nines = (place) => {
    const decimals = Math.min(Math.max(Math.ceil(Math.log10(place) - 2), 0), 6);
    return (100 * (1 - 1 / place)).toFixed(decimals) + " %";
  };
  const write = { text: (at) => data.texts[at], count: String, bytes, number, share: percent };

  const element = (name, text, ...children) => {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    made.append(...children);
    return made;
  };

  // Axes: where a value lies, the ends, the ticks, the text of a tick.
  const powers = (low, high, base, most) => {
    const first = Math.floor(Math.log(low) / Math.log(base)), last = Math.ceil(Math.log(high) / Math.log(base));
    const step = Math.max(1, Math.ceil((last - first) / most)), found = [];
    for (let power = first; power <= last; power += step) found.push(base ** power);
    return found;
  };
  const decades = (low, high) => {
    const tens = powers(low, high, 10, 12);
    return tens.length > 4 ? tens : tens.flatMap((ten) => [ten, 2 * ten, 5 * ten]);
  };
  const axis = (scale) => ({
    linear: { place: (x) => x, ends: (low, high) => [0, high * 1.06 || 1], text: tick },
    count: { isWhole: true, place: (x) => x, ends: (low, high) => [low - 1, high + 1], text: (x) => (Number.isInteger(x) ? String(x) : "") },
    log: { place: (x) => x, ends: (low, high) => [low / 1.4, high * 1.4], base: 10, ticks: decades, text: tick },
    doubling: { place: (x) => Math.max(x, 0.5), ends: (low, high) => [low / 1.6, high * 1.6], base: 2,
      ticks: (low, high) => powers(low, high, 2, 13), text: (x) => (x < 1 ? "" : String(Math.round(x))) },
    bytes: { place: (x) => Math.max(x, 0.5), ends: (low, high) => [low / 1.6, high * 1.6], base: 2,
      ticks: (low, high) => powers(low, high, 2, 13), text: (x) => (x < 1 ? "" : bytes(Math.round(x))) },
    nines: { place: (x) => 1 / (1 - x), ends: (low, high) => [1, Math.max(high, 10)], base: 10,
      ticks: (low, high) => powers(low, high, 10, 8), text: nines },
  })[scale] || { place: (x) => x, ends: () => [-scale, scale], text: tick };

  const isShown = (series) =>
    !hidden.run.has(series.run) && !hidden.fabric.has(series.fabric) && !hidden.pattern.has(series.pattern) && !hidden.size.has(series.size);

  const dashes = { dashed: [8, 5], "dashed-curve": [8, 5], dotted: [2, 4], published: [1, 4] };
  // Fabric and line have shapes of their own, as in the figures for print.
  const shape = (series) => {
    const fast = ["verbs", "perftest"].includes(series.fabric);
    if (series.line.endsWith("curve")) return null;
    if (series.line === "published") return "cross";
    if (series.line === "dotted") return "plus";
    if (series.line === "dashed") return series.fabric === "tcp" ? "down" : fast ? "star" : "square";
    return series.fabric === "tcp" ? "up" : fast ? "diamond" : "circle";
  };
  const outlines = {
    up: [[0, -1.2], [1.1, 0.9], [-1.1, 0.9]], down: [[0, 1.2], [1.1, -0.9], [-1.1, -0.9]], diamond: [[0, -1.3], [1.1, 0], [0, 1.3], [-1.1, 0]],
    square: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
    star: [...Array(10).keys()].map((at) => { const far = at % 2 ? 0.55 : 1.4, turn = (at * Math.PI) / 5; return [far * Math.sin(turn), -far * Math.cos(turn)]; }),
  };
  const mark = (context, name, x, y, size, colour, isHollow) => {
    context.beginPath();
    context.strokeStyle = colour;
    context.fillStyle = isHollow ? style("--ground") : colour;
    context.lineWidth = size / 2.6;
    if (name === "cross" || name === "plus") {
      for (const [dx, dy] of name === "cross" ? [[1, 1], [1, -1]] : [[1.2, 0], [0, 1.2]]) {
        context.moveTo(x - dx * size, y - dy * size);
        context.lineTo(x + dx * size, y + dy * size);
      }
    } else if (name === "circle") {
      context.arc(x, y, size, 0, 2 * Math.PI);
    } else {
      outlines[name].forEach(([dx, dy], at) => (at ? context.lineTo(x + dx * size, y + dy * size) : context.moveTo(x + dx * size, y + dy * size)));
      context.closePath();
    }
    context.fill();
    context.stroke();
  };
  const colourOf = (series) => data.colours[series.colour % data.colours.length];

  const tip = element("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);

  class Chart {
    constructor(figure) {
      this.figure = figure;
      this.frame = document.getElementById(figure.id);
      this.holder = this.frame.querySelector(".chart");
      this.legend = this.frame.querySelector(".legend");
      this.off = new Set();
      this.holder.addEventListener("mouseleave", () => (tip.hidden = true));
      new ResizeObserver(() => this.plot?.setSize({ width: this.holder.clientWidth, height: this.height() })).observe(this.holder);
    }

    height() { return Math.min(420, Math.max(260, this.holder.clientWidth * 0.5)); }

    // The series to draw, each with the marks that are not left out.
    shown() {
      const bySize = this.figure.x.scale === "bytes";
      return this.figure.series.filter(isShown)
        .map((series) => ({ ...series, marks: bySize ? series.marks.filter(([x]) => !hidden.size.has(x)) : series.marks }))
        .filter((series) => series.marks.length);
    }

    draw() {
      const found = this.shown();
      this.plot?.destroy();
      this.plot = null;
      this.frame.hidden = !found.some((series) => series.line !== "published");
      if (this.frame.hidden) return;
      this.series = found.filter((series) => !this.off.has(series.label));
      this.drawLegend(found);
      if (!this.series.length) return;
      const [x, y] = [axis(this.figure.x.scale), axis(this.figure.y.scale)];
      this.x = x;
      const places = [...new Set(this.series.flatMap(({ marks }) => marks.map(([at]) => x.place(at))))].sort((a, b) => a - b);
      const values = this.series.map(({ marks }) => {
        const at = new Map(marks.map(([place, value]) => [x.place(place), value]));
        return places.map((place) => at.get(place) ?? null);
      });
      const heights = this.series.flatMap(({ marks }) => marks.flatMap(([, value, low, high]) => [value, low ?? value, high ?? value]));
      if (this.figure.level) heights.push(this.figure.level[0]);
      const [low, high] = [Math.min(...heights), Math.max(...heights)];
      const scale = (kind, ends) => ({
        time: false, distr: kind.base ? 3 : 1, log: kind.base || 10,
        // The whole figure, unless a part of it was chosen.
        range: (_, from, to) => (from == null || (from <= ends[2] && to >= ends[3]) ? [ends[0], ends[1]] : [from, to]),
      });
      const lines = (kind, label, size) => ({
        label, size, stroke: style("--text"), grid: { stroke: style("--line"), width: 1 }, ticks: { stroke: style("--line") },
        values: (_, ticks) => ticks.map((at) => (at == null ? "" : kind.text(at))),
        ...(kind.ticks ? { splits: (_, at, from, to) => kind.ticks(from, to).filter((tick) => tick >= from && tick <= to), filter: (_, ticks) => ticks } : {}),
        ...(kind.isWhole ? { incrs: [1, 2, 4, 8, 16, 32, 64, 128] } : {}),
      });
      const [left, right] = [places[0], places[places.length - 1]];
      this.plot = new uPlot({
        width: this.holder.clientWidth, height: this.height(),
        scales: { x: scale(x, [...x.ends(left, right), left, right]), y: scale(y, [...y.ends(low, high), Math.min(...values.flat().filter((v) => v != null)), Math.max(...values.flat())]) },
        axes: [lines(x, this.figure.x.label, 48), lines(y, this.figure.y.label, 70)],
        series: [{}, ...this.series.map((series) => ({
          label: series.label, stroke: colourOf(series), spanGaps: true, points: { show: false },
          width: series.line === "marks" ? 0 : series.line === "published" ? 1 : 2, dash: series.run ? [4, 3, 1, 3] : dashes[series.line],
        }))],
        legend: { show: false }, cursor: { points: { show: false }, drag: { x: true, y: true, uni: 20 } },
        hooks: { draw: [(plot) => this.drawMarks(plot)], setCursor: [(plot) => this.hover(plot)] },
      }, [places, ...values], this.holder);
    }

    drawMarks(plot) {
      const { ctx, bbox } = plot, unit = devicePixelRatio;
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left - 6, bbox.top - 6, bbox.width + 12, bbox.height + 12);
      ctx.clip();
      this.drawNotes(plot, unit);
      for (const series of this.series) {
        const colour = colourOf(series), name = shape(series);
        for (const [at, value, low, high, isHollow] of series.marks) {
          const [x, y] = [plot.valToPos(this.x.place(at), "x", true), plot.valToPos(value, "y", true)];
          if (low != null) {
            ctx.strokeStyle = colour;
            ctx.lineWidth = unit;
            ctx.beginPath();
            ctx.moveTo(x, plot.valToPos(low, "y", true));
            ctx.lineTo(x, plot.valToPos(high, "y", true));
            ctx.stroke();
          }
          if (name) mark(ctx, name, x, y, 4 * unit, colour, isHollow || series.run > 0);
        }
      }
      ctx.restore();
    }

    // The level and the event of a figure, with their names.
    drawNotes(plot, unit) {
      const { ctx, bbox } = plot;
      ctx.strokeStyle = ctx.fillStyle = style("--faint");
      ctx.lineWidth = unit;
      ctx.textAlign = "left";
      ctx.font = `${12 * unit}px system-ui, sans-serif`;
      ctx.setLineDash([6 * unit, 4 * unit]);
      for (const [note, isLevel] of [[this.figure.level, true], [this.figure.event, false]]) {
        if (!note) continue;
        const at = plot.valToPos(isLevel ? note[0] : this.x.place(note[0]), isLevel ? "y" : "x", true);
        ctx.beginPath();
        ctx.moveTo(isLevel ? bbox.left : at, isLevel ? at : bbox.top);
        ctx.lineTo(isLevel ? bbox.left + bbox.width : at, isLevel ? at : bbox.top + bbox.height);
        ctx.stroke();
        ctx.fillText(note[1], isLevel ? bbox.left + 6 * unit : at + 6 * unit, isLevel ? at - 5 * unit : bbox.top + 14 * unit);
      }
      ctx.setLineDash([]);
    }

    // What stands under the pointer, or near it.
    hover(plot) {
      const { left, top } = plot.cursor;
      const reach = 28;
      let best = null;
      if (left >= 0) for (const series of this.series) for (const found of series.marks) {
        const [x, y] = [plot.valToPos(this.x.place(found[0]), "x"), plot.valToPos(found[1], "y")];
        const far = Math.hypot(x - left, y - top);
        if (far < (best?.far ?? reach)) best = { far, x, y, series, found };
      }
      tip.hidden = !best;
      if (!best) return;
      const [at, value, low, high, isHollow] = best.found;
      const where = this.figure.x.scale === "bytes" ? bytes(at) : this.figure.x.scale === "nines" ? nines(1 / (1 - at)) : number(at);
      const lines = [best.series.label, `${this.figure.x.label}: ${where}`, `${this.figure.y.label}: ${number(value)}`];
      if (low != null) lines.push(`from ${number(low)} to ${number(high)}`);
      if (isHollow) lines.push("emulated: see the line under the title for what stood in");
      tip.replaceChildren(...lines.map((line) => element("div", line)));
      const over = plot.over.getBoundingClientRect();
      tip.style.left = `${Math.min(over.left + best.x + 14, innerWidth - 300) + scrollX}px`;
      tip.style.top = `${over.top + best.y + 14 + scrollY}px`;
    }

    drawLegend(all) {
      this.legend.replaceChildren(...all.map((series) => {
        const picture = element("canvas"), unit = devicePixelRatio, context = picture.getContext("2d");
        [picture.width, picture.height] = [34 * unit, 14 * unit];
        context.strokeStyle = colourOf(series);
        context.lineWidth = 2 * unit;
        context.setLineDash((series.run ? [4, 3, 1, 3] : dashes[series.line] || []).map((dash) => dash * unit));
        if (series.line !== "marks") { context.beginPath(); context.moveTo(0, 7 * unit); context.lineTo(34 * unit, 7 * unit); context.stroke(); }
        context.setLineDash([]);
        if (shape(series)) mark(context, shape(series), 17 * unit, 7 * unit, 4 * unit, colourOf(series), series.run > 0);
        const button = element("button", null, picture, series.label);
        button.type = "button";
        button.setAttribute("aria-pressed", String(!this.off.has(series.label)));
        button.addEventListener("click", () => {
          this.off.has(series.label) ? this.off.delete(series.label) : this.off.add(series.label);
          this.draw();
        });
        return button;
      }));
    }
  }

  const charts = data.figures.filter(({ id }) => document.getElementById(id)).map((figure) => new Chart(figure));
  // Figures are drawn when they come near the window.
  const near = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => {
    const chart = charts.find(({ frame }) => frame === target);
    if (isIntersecting && chart && !chart.plot) chart.draw();
  }), { rootMargin: "600px" });
  charts.forEach((chart) => near.observe(chart.frame));
  const redraw = () => {
    charts.forEach((chart) => { if (chart.plot || chart.frame.hidden) chart.draw(); });
    table.draw();
  };
  dark.addEventListener("change", redraw);

  // The table of points: filtered as the figures, sorted by a column, a part at a time.
  const table = {
    by: null, isDown: false, count: 100, holder: document.getElementById("points"),
    rows() {
      const [run, fabric, size, pattern] = ["run", "fabric", "size", "senders"].map((name) => column[name]);
      const text = (at) => data.texts[at];
      const runs = new Set([...hidden.run].map((at) => data.runs[at]));
      const found = data.points.filter((row) => !runs.has(text(row[run])) && !hidden.fabric.has(text(row[fabric])) && !hidden.size.has(row[size]) && !hidden.pattern.has(text(row[pattern])));
      if (this.by == null) return found;
      const isText = data.columns[this.by][1] === "text";
      const key = (row) => (isText && row[this.by] != null ? text(row[this.by]) : row[this.by]);
      return found.sort((a, b) => {
        const [left, right] = [key(a), key(b)];
        if (left == null || right == null) return (left == null) - (right == null);
        return (left < right ? -1 : left > right ? 1 : 0) * (this.isDown ? -1 : 1);
      });
    },
    draw() {
      const rows = this.rows();
      const used = data.columns.map((_, at) => (data.columns[at][0] === "run" ? data.runs.length > 1 : data.points.some((row) => row[at] != null && data.texts[row[at]] !== "")));
      const heads = data.columns.flatMap(([name, kind], at) => {
        if (!used[at]) return [];
        const button = element("button", name + (this.by === at ? (this.isDown ? " ▼" : " ▲") : ""));
        button.addEventListener("click", () => {
          this.isDown = this.by === at ? !this.isDown : kind !== "text";
          this.by = at;
          this.draw();
        });
        const head = element("th", null, button);
        if (kind !== "text") head.className = "number";
        head.setAttribute("aria-sort", this.by === at ? (this.isDown ? "descending" : "ascending") : "none");
        return [head];
      });
      const lines = rows.slice(0, this.count).map((row) => element("tr", null, ...data.columns.flatMap(([, kind], at) => {
        if (!used[at]) return [];
        const cell = element("td", row[at] == null ? "" : write[kind](row[at]));
        if (kind !== "text") cell.className = "number";
        return [cell];
      })));
      const whole = element("table", null, element("thead", null, element("tr", null, ...heads)), element("tbody", null, ...lines));
      const said = element("p", `${Math.min(rows.length, this.count)} of ${rows.length} points`);
      if (rows.length > this.count) {
        const more = element("button", "show more");
        more.addEventListener("click", () => { this.count *= 4; this.draw(); });
        said.append(" ", more);
      }
      this.holder.replaceChildren(said, whole);
    },
  };

  // A box for each value of each attribute that has several.
  const text = (name) => (row) => data.texts[row[column[name]]];
  const attributes = [
    ["run", "run", data.runs.map((_, at) => at), (at) => data.runs[at]],
    ["fabric", "fabric", [...new Set(data.points.map(text("fabric")))], (name) => name],
    ["pattern", "senders", [...new Set(data.points.map(text("senders")))].filter(Boolean), (name) => name],
    ["size", "size", [...new Set(data.points.map((row) => row[column.size]))].sort((a, b) => a - b), bytes],
  ];
  const filters = document.getElementById("filters");
  for (const [name, title, values, label] of attributes) {
    if (values.length < 2) continue;
    const boxes = values.map((value) => {
      const box = element("input");
      box.type = "checkbox";
      box.checked = true;
      box.name = name;
      box.addEventListener("change", () => {
        box.checked ? hidden[name].delete(value) : hidden[name].add(value);
        redraw();
      });
      return element("label", null, box, label(value));
    });
    filters.append(element("fieldset", null, element("legend", title), ...boxes));
  }
  table.draw();
})();

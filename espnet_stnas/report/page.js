// Makes the figures of a report answer: names at the pointer, lines that can be hidden, a
// frame that is zoomed into. Without it, figures are the same, and legends are texts.
const make = (name, kind, text = "") => {
  const made = document.createElement(name);
  if (name === "button") made.type = "button";
  made.className = kind;
  made.textContent = text;
  return made;
};
const number = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 });

// A click on an entry of a legend hides its line in all panels, and shows it again.
function makeSwitches(figure) {
  for (const item of figure.querySelectorAll(".legend [data-k]")) {
    const shapes = [...figure.querySelectorAll(`.panels [data-k="${item.dataset.k}"]`)];
    if (!shapes.some((shape) => shape.tagName === "image" || shape.querySelector("path, use"))) {
      continue;
    }
    const button = make("button", "");
    button.append(...item.childNodes);
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      const hide = button.getAttribute("aria-pressed") === "true";
      button.setAttribute("aria-pressed", String(!hide));
      for (const shape of shapes) shape.style.display = hide ? "none" : "";
    });
    item.append(button);
  }
}

// What a point is, in words. Architectures come as indices of candidates.
function words([x, y, about], names) {
  if (typeof about === "string") return about;
  const [path, errors] = about;
  const lines = [
    path.map((k, choice) => names[choice][k]).join(" "),
    `${x.toLocaleString("en")} parameters, loss ${y}`,
  ];
  if (errors !== null) lines.push(`token errors ${errors} %`);
  return lines.join("\n");
}

// All points of a panel, as shares of the whole figure, each with a text.
function pointsOf(svg, panel, data, whole) {
  const [left, top, right, bottom] = panel.box;
  const scale = panel.log ? Math.log10 : (y) => y;
  const [low, high] = panel.y.map(scale);
  const [first, last] = panel.x;
  const points = panel.spots.map((spot) => [
    left + (spot[0] - first) / (last - first) * (right - left),
    bottom - (scale(spot[1]) - low) / (high - low) * (bottom - top),
    () => words(spot, data.names),
  ]);
  if (points.length) return points;
  for (const group of svg.querySelectorAll("[data-k]")) {
    const line = [...group.children].find((child) => child.tagName === "path");
    if (!line || group.style.display === "none") continue;
    const d = line.dataset.whole ?? line.getAttribute("d");
    for (const [, px, py] of d.matchAll(/[ML] (\S+) (\S+)/g)) {
      const [x, y] = [px / whole.width, py / whole.height];
      const at = first + (x - left) / (right - left) * (last - first);
      const value = low + (bottom - y) / (bottom - top) * (high - low);
      points.push([x, y, () => `${data.labels[group.dataset.k]}: `
        + `${number(panel.log ? 10 ** value : value)}\n${panel.of} ${number(at)}`]);
    }
  }
  return points;
}

// Round numbers within limits, about four of them.
function ticksOf(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough);
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high; n += 1) found.push(n * step);
  return found;
}

// Shows a part of a panel's axes as large as the whole.
class View {
  constructor(svg, panel) {
    const { width, height } = svg.viewBox.baseVal;
    Object.assign(this, { svg, panel, width, height });
    const [left, top, right, bottom] = panel.box;
    this.box = [left * width, top * height, right * width, bottom * height];
    this.part = this.box;
    this.ticks = [...svg.querySelectorAll("[data-tick]")];
    const data = [...svg.querySelectorAll("[clip-path]")].filter((e) => !e.closest("[data-tick]"));
    const found = (name) => [
      ...data.filter((e) => e.tagName === name), ...data.flatMap((e) => [...e.querySelectorAll(name)]),
    ];
    this.lines = found("path").map((e) => [e, e.getAttribute("d")]);
    for (const [line, d] of this.lines) line.dataset.whole = d;
    this.places = [...found("use"), ...svg.querySelectorAll("[data-mark] text")].map(
      (e) => [e, Number(e.getAttribute("x")), Number(e.getAttribute("y"))]);
    this.images = [...svg.querySelectorAll("image")].map((e) => {
      const clipped = document.createElementNS(svg.namespaceURI, "g");
      clipped.setAttribute("clip-path", data[0].getAttribute("clip-path"));
      e.replaceWith(clipped);
      clipped.append(e);
      return [e, e.getAttribute("transform") ?? ""];
    });
  }

  // From the place in the whole to the one in the part, in units of the figure.
  to(x, y) {
    const [[left, top, right, bottom], [x0, y0, x1, y1]] = [this.box, this.part];
    return [
      left + (x - x0) / (x1 - x0) * (right - left), top + (y - y0) / (y1 - y0) * (bottom - top),
    ];
  }

  from(x, y) {
    const [[left, top, right, bottom], [x0, y0, x1, y1]] = [this.box, this.part];
    return [
      x0 + (x - left) / (right - left) * (x1 - x0), y0 + (y - top) / (bottom - top) * (y1 - y0),
    ];
  }

  has(x, y) {
    const [x0, y0, x1, y1] = this.part;
    // Coordinates are rounded.
    return x > x0 - 0.1 && x < x1 + 0.1 && y > y0 - 0.1 && y < y1 + 0.1;
  }

  show(part) {
    this.part = part;
    for (const [path, d] of this.lines) {
      path.setAttribute("d", d.replace(/([ML]) (\S+) (\S+)/g,
        (_, letter, x, y) => `${letter} ${this.to(Number(x), Number(y)).join(" ")}`));
    }
    for (const [item, x, y] of this.places) {
      const [newX, newY] = this.to(x, y);
      item.setAttribute("x", newX);
      item.setAttribute("y", newY);
      item.removeAttribute("transform");
      item.style.display = this.has(x, y) ? "" : "none";
    }
    const [[a, b], [c, d]] = [this.to(0, 0), this.to(1, 1)];
    for (const [image, transform] of this.images) {
      image.setAttribute("transform", `matrix(${c - a} 0 0 ${d - b} ${a} ${b}) ${transform}`);
    }
    for (const old of this.svg.querySelectorAll(".tick")) old.remove();
    const whole = part === this.box;
    for (const tick of this.ticks) tick.style.display = whole ? "" : "none";
    if (!whole) ["x", "y"].forEach((name, which) => this.drawTicks(name, which));
  }

  drawTicks(name, which) {
    const { box, part, panel } = this;
    const scale = panel.log && which ? Math.log10 : (v) => v;
    const [first, last] = panel[name].map(scale);
    const ends = which ? [box[3], box[1]] : [box[0], box[2]];
    const value = (place) => first + (place - ends[0]) / (ends[1] - ends[0]) * (last - first);
    const limits = which ? [part[3], part[1]] : [part[0], part[2]];
    const old = this.ticks.find((t) => t.dataset.tick === name && t.querySelector("text"));
    if (!old) return;
    for (const tick of ticksOf(value(limits[0]), value(limits[1]))) {
      const place = ends[0] + (tick - first) / (last - first) * (ends[1] - ends[0]);
      const at = this.to(place, place)[which];
      const label = old.querySelector("text").cloneNode();
      label.setAttribute("class", "tick");
      label.removeAttribute("transform");
      label.setAttribute(name, which ? at + 3.5 : at);
      label.textContent = number(scale === Math.log10 ? 10 ** tick : tick);
      const line = old.querySelector("path").cloneNode();
      line.setAttribute("class", "tick");
      line.setAttribute("d", which ? `M ${box[0]} ${at} L ${box[2]} ${at}`
        : `M ${at} ${box[1]} L ${at} ${box[3]}`);
      old.before(line, label);
    }
  }
}

function makeActive(place, panel, data) {
  const svg = place.querySelector("svg");
  const view = new View(svg, panel);
  const tip = make("div", "tip");
  const frame = make("div", "frame");
  tip.hidden = frame.hidden = true;
  place.append(tip, frame);
  // Pixels of the panel, and units of the figure.
  const pixels = ({ clientX, clientY }) => {
    const box = svg.getBoundingClientRect();
    return [clientX - box.left, clientY - box.top];
  };
  const size = () => svg.getBoundingClientRect().width / view.width;

  // The points in view: place in pixels, and what makes the text.
  const seen = () => pointsOf(svg, panel, data, view)
    .map(([x, y, text]) => [[x * view.width, y * view.height], text])
    .filter(([whole]) => view.has(...whole))
    .map(([whole, text]) => [view.to(...whole).map((v) => v * size()), text]);
  const tell = ([[x, y], text]) => {
    tip.hidden = false;
    tip.textContent = text();
    tip.style.left = `${Math.max(0, Math.min(x + 12, place.clientWidth - tip.offsetWidth))}px`;
    tip.style.top = `${y + 12}px`;
  };

  let kept = false;
  const show = (event) => {
    const at = pixels(event);
    let best = null;
    let least = 15 ** 2; // pixels
    for (const point of seen()) {
      const [[x, y]] = point;
      const far = (x - at[0]) ** 2 + (y - at[1]) ** 2;
      if (far < least) [best, least] = [point, far];
    }
    tip.hidden = best === null;
    if (best !== null) tell(best);
  };

  // With the keyboard: one point after the other.
  let current = -1;
  svg.tabIndex = 0;
  tip.setAttribute("role", "status");
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") tip.hidden = true;
    if (step === undefined) return;
    event.preventDefault();
    const points = seen();
    if (!points.length) return;
    current = (Math.max(current, step < 0 ? 0 : -1) + step + points.length) % points.length;
    tell(points[current]);
  });
  svg.addEventListener("blur", () => {
    tip.hidden = true;
    kept = false;
  });

  const tools = make("div", "tools");
  const reset = make("button", "", "whole");
  reset.hidden = true;
  const back = () => {
    view.show(view.box);
    reset.hidden = true;
  };
  reset.addEventListener("click", back);
  svg.addEventListener("dblclick", back);
  const enlarge = make("button", "enlarge");
  enlarge.setAttribute("aria-label", `Enlarge: ${svg.getAttribute("aria-label")}`);
  enlarge.setAttribute("aria-pressed", "false");
  enlarge.addEventListener("click", () => {
    enlarge.setAttribute("aria-pressed", String(place.classList.toggle("large")));
  });
  tools.append(reset, ...(data.panels.length > 1 ? [enlarge] : []));
  place.append(tools);

  // A frame that is drawn with the mouse inside of the axes.
  let start = null;
  const corners = (event) => {
    const at = pixels(event);
    const low = [0, 1].map((k) => Math.max(Math.min(start[k], at[k]), view.box[k] * size()));
    const high = [0, 1].map((k) => Math.min(Math.max(start[k], at[k]), view.box[k + 2] * size()));
    return [...low, ...high];
  };
  svg.addEventListener("pointerdown", (event) => {
    const at = pixels(event);
    const [left, top, right, bottom] = view.box.map((v) => v * size());
    const inside = at[0] > left && at[0] < right && at[1] > top && at[1] < bottom;
    if (event.pointerType !== "mouse" || !inside) return;
    start = at;
    event.preventDefault();
  });
  svg.addEventListener("pointermove", (event) => {
    if (start === null) {
      if (!kept) show(event);
      return;
    }
    const [x0, y0, x1, y1] = corners(event);
    Object.assign(frame.style,
      { left: `${x0}px`, top: `${y0}px`, width: `${x1 - x0}px`, height: `${y1 - y0}px` });
    frame.hidden = false;
    tip.hidden = true;
  });
  svg.addEventListener("pointerup", (event) => {
    if (start === null) return;
    const [x0, y0, x1, y1] = corners(event);
    frame.hidden = true;
    start = null;
    if (x1 - x0 < 8 || y1 - y0 < 8) return;
    const part = [[x0, y0], [x1, y1]].map((at) => view.from(...at.map((v) => v / size())));
    view.show(part.flat());
    reset.hidden = false;
  });
  svg.addEventListener("pointerleave", () => {
    start = null;
    frame.hidden = true;
    tip.hidden ||= !kept;
  });
  svg.addEventListener("click", (event) => {
    show(event);
    kept = !tip.hidden;
  });
}

const charts = [...document.querySelectorAll("figure.chart")];
for (const figure of charts) {
  const data = JSON.parse(figure.querySelector("script").textContent);
  makeSwitches(figure);
  [...figure.querySelectorAll(".panel")].forEach((place, n) => {
    makeActive(place, data.panels[n], data);
  });
}
if (charts.length) {
  document.querySelector("header").append(make("p", "note", "Figures: point at lines and marks "
    + "for their values, or go through them with the arrow keys; click in a legend to hide a "
    + "line; draw a frame with the mouse to zoom in, and click twice for the whole."));
}

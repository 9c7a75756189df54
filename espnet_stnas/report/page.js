// Shows the charts of a report with plotly: values at the pointer, lines that can be hidden,
// a frame that is zoomed into. Without scripts, the page shows the same charts as pictures.
const make = (name, kind, text = "") => {
  const made = document.createElement(name);
  if (name === "button") made.type = "button";
  made.className = kind;
  made.textContent = text;
  return made;
};
const dark = matchMedia("(prefers-color-scheme: dark)");
// On a phone, a finger that moves over a chart moves the page.
const finger = matchMedia("(pointer: coarse)").matches;

// Plotly does not know variables of a style sheet.
function withColours(figure) {
  const style = getComputedStyle(document.documentElement);
  return JSON.parse(JSON.stringify(figure).replace(
    /var\((--\w+)\)/g, (_, name) => style.getPropertyValue(name).trim()));
}

function layoutOf(layout) {
  const axis = (own, size) => ({
    automargin: true, gridcolor: "var(--grid)", linecolor: "var(--line)", mirror: true,
    nticks: 6, showline: true, zeroline: false, ...own,
    title: { ...own.title, standoff: 8, font: { size } },
  });
  return {
    ...layout,
    autosize: true,
    dragmode: finger ? false : "zoom",
    font: { color: "var(--ink)", family: getComputedStyle(document.body).fontFamily, size: 12 },
    hoverlabel: { align: "left", bgcolor: "var(--paper)", bordercolor: "var(--line)",
      font: { color: "var(--ink)" } },
    hovermode: "closest",
    margin: { b: 36, l: 44, r: 12, t: layout.title.text ? 30 : 12 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    showlegend: false,
    title: { ...layout.title, font: { size: 13 }, y: 0.98, yanchor: "top" },
    uirevision: "same", // what was zoomed into stays when colours change
    xaxis: axis(layout.xaxis, 12),
    yaxis: axis(layout.yaxis, 12),
  };
}

// One panel: a picture becomes a figure of plotly.
class Panel {
  constructor(place, figure, several) {
    Object.assign(this, { place, figure, hidden: new Set() });
    const picture = place.querySelector("svg");
    const { width, height } = picture.viewBox.baseVal;
    this.plot = make("div", "plot");
    this.plot.style.aspectRatio = `${width} / ${height}`;
    this.plot.tabIndex = 0;
    this.plot.setAttribute("role", "img");
    this.plot.setAttribute("aria-label", picture.getAttribute("aria-label"));
    this.said = make("div", "said");
    this.said.setAttribute("role", "status");
    picture.replaceWith(this.plot, this.said);
    if (several) this.addEnlarge(picture.getAttribute("aria-label"));
    this.draw();
    this.plot.addEventListener("keydown", (event) => this.walk(event));
    this.plot.addEventListener("blur", () => Plotly.Fx.unhover(this.plot));
  }

  draw() {
    const { data, layout } = this.figure;
    const drawn = withColours({ data, layout: layoutOf(layout) });
    for (const trace of drawn.data) trace.visible = !this.hidden.has(trace.meta);
    Plotly.react(this.plot, drawn.data, drawn.layout, { displayModeBar: false, responsive: true });
  }

  addEnlarge(label) {
    const button = make("button", "enlarge");
    button.setAttribute("aria-label", `Enlarge: ${label}`);
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(this.place.classList.toggle("large")));
      Plotly.Plots.resize(this.plot);
    });
    this.place.append(button);
  }

  has(entry) {
    return this.figure.data.some((trace) => trace.meta === entry);
  }

  show(entry, shown) {
    if (shown) this.hidden.delete(entry);
    else this.hidden.add(entry);
    this.draw();
  }

  // With the keyboard: one point after the other, of all lines that are shown.
  walk(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") Plotly.Fx.unhover(this.plot);
    if (step === undefined) return;
    event.preventDefault();
    const points = this.figure.data.flatMap((trace, curveNumber) => (
      trace.hoverinfo === "skip" || this.hidden.has(trace.meta) ? []
        : trace.x.map((_, pointNumber) => ({ curveNumber, pointNumber }))));
    if (!points.length) return;
    const current = this.current ?? (step < 0 ? 0 : -1);
    this.current = (current + step + points.length) % points.length;
    const point = points[this.current];
    Plotly.Fx.hover(this.plot, [point]);
    this.said.textContent = this.words(point);
  }

  words({ curveNumber, pointNumber }) {
    const { text, name, x, y } = this.figure.data[curveNumber];
    const { xaxis } = this.figure.layout;
    const found = text?.[pointNumber]
      ?? `${name}: ${y[pointNumber]}<br>${xaxis.title.text} ${x[pointNumber]}`;
    return new DOMParser().parseFromString(found.replaceAll("<br>", ", "), "text/html").body.textContent;
  }
}

// A click on an entry of the legend hides its line in all panels, and shows it again.
function makeSwitches(chart, panels) {
  for (const item of chart.querySelectorAll(".legend [data-entry]")) {
    const entry = Number(item.dataset.entry);
    const concerned = panels.filter((panel) => panel.has(entry));
    if (!concerned.length) continue;
    const button = make("button", "");
    button.append(...item.childNodes);
    button.setAttribute("aria-pressed", "true");
    button.addEventListener("click", () => {
      const shown = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(shown));
      for (const panel of concerned) panel.show(entry, shown);
    });
    item.append(button);
  }
}

function makeInteractive(chart) {
  const figures = JSON.parse(chart.querySelector("script").textContent);
  const panels = [...chart.querySelectorAll(".panel")].map(
    (place, number) => new Panel(place, figures[number], figures.length > 1));
  makeSwitches(chart, panels);
  dark.addEventListener("change", () => panels.forEach((panel) => panel.draw()));
}

const charts = [...document.querySelectorAll("figure.chart")];
// A page of many charts opens at once: each is made before it comes into view.
const coming = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    coming.unobserve(target);
    makeInteractive(target);
  }
}, { rootMargin: "1000px" });
for (const chart of charts) coming.observe(chart);
if (charts.length) {
  document.querySelector("header").append(make("p", "note", "Charts: point at lines and marks "
    + "for their values, or go through them with the arrow keys; click in a legend to hide a "
    + "line; draw a frame with the mouse to zoom in, and click twice for the whole."));
}

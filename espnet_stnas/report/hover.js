// Shows the architecture behind the point that is next to the pointer; a click keeps it.
for (const figure of document.querySelectorAll("figure.hover")) {
  const data = figure.querySelector("script");
  const svg = figure.querySelector("svg");
  if (!data || !svg) continue;
  const { candidates, points } = JSON.parse(data.textContent);
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  figure.append(tip);
  let kept = false;
  const show = (event) => {
    const box = svg.getBoundingClientRect();
    const x = event.clientX - box.left;
    const y = event.clientY - box.top;
    let best = null;
    let least = 15 ** 2; // pixels
    for (const point of points) {
      const far = (point[0] * box.width - x) ** 2 + (point[1] * box.height - y) ** 2;
      if (far < least) [best, least] = [point, far];
    }
    tip.hidden = best === null;
    if (best === null) return;
    const [left, top, path, parameters, loss, errors] = best;
    const lines = [
      path.map((k, choice) => candidates[choice][k]).join(" "),
      `${parameters.toLocaleString("en")} parameters, loss ${loss}`,
    ];
    if (errors !== null) lines.push(`token errors ${errors} %`);
    tip.textContent = lines.join("\n");
    tip.style.left = `${left * box.width + 12}px`;
    tip.style.top = `${top * box.height + 12}px`;
  };
  svg.addEventListener("pointermove", (event) => kept || show(event));
  svg.addEventListener("pointerleave", () => { tip.hidden ||= !kept; });
  svg.addEventListener("click", (event) => {
    show(event);
    kept = !tip.hidden;
  });
}

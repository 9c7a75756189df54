// Opens the page of a report in a browser, at 1280 and 400 pixels, light and dark, and
// checks what tests without a browser cannot: accessibility (axe-core), that nothing is
// wider than the screen, the size of letters, and that figures answer.
//
// Needs node 18 or newer, a Chrome or Chromium, and two packages of npm, in any folder:
//     npm install puppeteer-core axe-core
//     CHROME=/usr/bin/chromium node REPOSITORY/tools/check_report.mjs report.html [PICTURES]
// Exit code 1: something was found. With a folder PICTURES, what it saw is written there.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

// The packages are those of the current folder.
const require = createRequire(path.resolve("package.json"));
const puppeteer = require("puppeteer-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const [page, pictures] = process.argv.slice(2);
const SMALLEST = 9; // pixels

const browser = await puppeteer.launch({
  executablePath: process.env.CHROME,
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});
const faults = [];
for (const scheme of ["light", "dark"]) {
  for (const width of [1280, 400]) {
    const where = `${width} ${scheme}`;
    const tab = await browser.newPage();
    tab.on("pageerror", (error) => faults.push(`${where}: ${error}`));
    tab.on("request", (request) => {
      if (!/^(file|data):/.test(request.url())) faults.push(`${where}: fetches ${request.url()}`);
    });
    await tab.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await tab.setViewport({ width, height: 900 });
    await tab.goto(pathToFileURL(path.resolve(page)).href);

    await tab.evaluate(axe);
    const { violations, passes } = await tab.evaluate(() => window.axe.run(document));
    for (const { id, nodes } of violations) {
      faults.push(`${where}: ${id}, ${nodes.length} times, as in ${nodes[0].html.slice(0, 150)}`);
    }
    const [over, least] = await tab.evaluate(() => {
      const root = document.documentElement;
      const sizes = [...document.querySelectorAll("svg text")].map(
        (text) => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a);
      const seen = sizes.filter((size) => size > 0);
      return [root.scrollWidth - root.clientWidth, seen.length ? Math.min(...seen) : null];
    });
    if (over > 0) faults.push(`${where}: ${over} pixels wider than the screen`);
    if (least === null) faults.push(`${where}: no text in figures`);
    else if (least < SMALLEST) faults.push(`${where}: letters of ${least.toFixed(1)} pixels`);
    if (pictures) {
      const height = await tab.evaluate(() => document.documentElement.scrollHeight);
      await tab.setViewport({ width, height: Math.min(height, 12000) });
      await tab.screenshot({ path: path.join(pictures, `report_${width}_${scheme}.png`) });
      await tab.setViewport({ width, height: 900 });
    }
    if (width > 1000) await tryFigure(tab, where);
    console.log(`${where}: axe passed ${passes.length} rules and ${violations.length} did not, `
      + `smallest letters ${least?.toFixed(1)} pixels`);
    await tab.close();
  }
}
await browser.close();
for (const fault of faults) console.log(fault);
process.exitCode = faults.length ? 1 : 0;

// Points at a line, hides it, zooms into a part and back.
async function tryFigure(tab, where) {
  const wrong = (text) => faults.push(`${where}: ${text}`);
  // A page of trainings alone has no figure of this kind.
  const figure = await tab.$("figure.chart:has(.panel + .panel):has(.panels [data-k] > path)");
  if (figure === null) return;
  const line = await figure.$(".panels [data-k] > path");
  const svg = await line.evaluateHandle((path) => path.ownerSVGElement);
  await svg.scrollIntoView();
  const box = await svg.boundingBox();
  const [x, y] = await line.evaluate((path) => {
    const { width, height } = path.ownerSVGElement.viewBox.baseVal;
    const [, px, py] = path.getAttribute("d").match(/L (\S+) (\S+)/);
    return [px / width, py / height];
  });
  await tab.mouse.move(box.x + x * box.width, box.y + y * box.height);
  const tip = await svg.evaluate((s) => s.parentElement.querySelector(".tip:not([hidden])")?.textContent);
  if (!tip) wrong("the pointer at a line shows nothing");

  await svg.evaluate((s) => s.focus());
  const text = () => svg.evaluate((s) => s.parentElement.querySelector(".tip").textContent);
  const texts = [];
  for (const key of ["ArrowRight", "ArrowRight", "ArrowLeft"]) {
    await tab.keyboard.press(key);
    texts.push(await text());
  }
  if (texts[0] === texts[1] || texts[0] !== texts[2]) wrong("the arrow keys do not go through points");

  const button = await figure.$(".legend button");
  await button.click();
  const display = () => figure.$eval(".panels [data-k]", (group) => group.style.display);
  if (await display() !== "none") wrong("a click in the legend hides nothing");
  await button.click();
  if (await display() !== "") wrong("a second click in the legend does not show it again");

  const ticks = () => svg.evaluate((s) => [...s.querySelectorAll("text")].map(
    (text) => getComputedStyle(text).display !== "none" && text.parentElement.style.display !== "none"
      && text.closest("[data-tick]")?.style.display !== "none" ? text.textContent : "").join(" "));
  const before = await ticks();
  await tab.mouse.move(box.x + 0.4 * box.width, box.y + 0.3 * box.height);
  await tab.mouse.down();
  await tab.mouse.move(box.x + 0.7 * box.width, box.y + 0.6 * box.height, { steps: 4 });
  await tab.mouse.up();
  if (await ticks() === before) wrong("a frame does not zoom in");
  await svg.evaluate((s) => s.parentElement.querySelector(".tools button").click());
  if (await ticks() !== before) wrong("the figure does not come back from a zoom");
}

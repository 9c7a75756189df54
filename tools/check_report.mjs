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
    // All charts become interactive when they come into view.
    const whole = await tab.evaluate(() => document.documentElement.scrollHeight);
    await tab.setViewport({ width, height: whole });
    await tab.waitForFunction(() => !document.querySelector(".chart .panel > svg"), { timeout: 20000 })
      .catch(() => faults.push(`${where}: a chart stays a picture`));

    await tab.evaluate(axe);
    const { violations, passes } = await tab.evaluate(() => window.axe.run(document));
    for (const { id, nodes } of violations) {
      faults.push(`${where}: ${id}, ${nodes.length} times, as in ${nodes[0].html.slice(0, 150)}`);
    }
    const [over, least] = await tab.evaluate(() => {
      const root = document.documentElement;
      const sizes = [...document.querySelectorAll("svg text")].map(
        (text) => (text.getScreenCTM() ? parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a : 0));
      const seen = sizes.filter((size) => size > 0);
      return [root.scrollWidth - root.clientWidth, seen.length ? Math.min(...seen) : null];
    });
    if (over > 0) faults.push(`${where}: ${over} pixels wider than the screen`);
    if (least === null) faults.push(`${where}: no text in figures`);
    else if (least < SMALLEST) faults.push(`${where}: letters of ${least.toFixed(1)} pixels`);
    if (pictures) {
      await tab.setViewport({ width, height: Math.min(whole, 12000) });
      await tab.screenshot({ path: path.join(pictures, `report_${width}_${scheme}.png`) });
    }
    await tab.setViewport({ width, height: 900 });
    if (width > 1000) await tryFigure(tab, where);
    console.log(`${where}: axe passed ${passes.length} rules and ${violations.length} did not, `
      + `smallest letters ${least?.toFixed(1)} pixels`);
    await tab.close();
  }
}
const tab = await browser.newPage();
await tab.setJavaScriptEnabled(false);
await tab.goto(pathToFileURL(path.resolve(page)).href);
const panels = (await tab.$$(".chart .panel")).length;
const seen = await tab.$$(".chart .panel > svg[role=img]");
if (seen.length !== panels) faults.push(`without scripts: ${panels} charts, ${seen.length} pictures`);
for (const picture of seen) {
  if (!await picture.boundingBox()) faults.push("without scripts: a picture is not shown");
}
console.log(`without scripts: ${seen.length} of ${panels} charts are pictures`);
await browser.close();
for (const fault of faults) console.log(fault);
process.exitCode = faults.length ? 1 : 0;

// Points at a line, hides it, zooms into a part and back.
async function tryFigure(tab, where) {
  const wrong = (text) => faults.push(`${where}: ${text}`);
  // A page of trainings alone has no figure of this kind.
  const chart = await tab.$("figure.chart:has(.panel + .panel):has(.legend button)");
  if (chart === null) return;
  const plot = await chart.$(".plot");
  await plot.scrollIntoView();
  const wait = () => new Promise((resolve) => { setTimeout(resolve, 600); });
  await wait();
  const places = () => plot.evaluate((div) => {
    const { xaxis, yaxis } = div._fullLayout;
    const [trace] = div._fullData;
    const box = div.getBoundingClientRect();
    const [left, top] = [box.left + xaxis._offset, box.top + yaxis._offset];
    const at = trace.x.length >> 1;
    return {
      point: [left + xaxis.d2p(trace.x[at]), top + yaxis.d2p(trace.y[at])],
      left, top, width: xaxis._length, height: yaxis._length,
      range: [...xaxis.range, ...yaxis.range].join(" "),
    };
  });
  const hover = () => plot.evaluate((div) => div.querySelector(".hoverlayer .hovertext")?.textContent ?? "");
  const start = (await places()).point;
  await tab.mouse.move(start[0] - 3, start[1] - 3);
  await tab.mouse.move(...start);
  await wait();
  if (!await hover()) wrong("the pointer at a line shows nothing");
  await tab.mouse.move(0, 0);

  await plot.evaluate((div) => div.focus());
  const said = () => plot.evaluate((div) => div.parentElement.querySelector(".said").textContent);
  const texts = [];
  for (const key of ["ArrowRight", "ArrowRight", "ArrowLeft"]) {
    await tab.keyboard.press(key);
    await wait();
    texts.push(await said());
  }
  if (!texts[0] || texts[0] === texts[1] || texts[0] !== texts[2]) {
    wrong(`the arrow keys do not go through points: ${texts.join(" | ")}`);
  }

  const button = await chart.$(".legend button");
  const lines = () => plot.evaluate((div) => div.querySelectorAll(".scatterlayer .trace").length);
  const all = await lines();
  await button.evaluate((b) => b.click());
  await wait();
  if (await lines() !== all - 1) wrong("a click in the legend hides nothing");
  await button.evaluate((b) => b.click());
  await wait();
  if (await lines() !== all) wrong("a second click in the legend does not show it again");

  const before = await places();
  const at = (x, y) => [before.left + x * before.width, before.top + y * before.height];
  await tab.mouse.move(...at(0.4, 0.3));
  await tab.mouse.down();
  await tab.mouse.move(...at(0.7, 0.7), { steps: 4 });
  await tab.mouse.up();
  await wait();
  if ((await places()).range === before.range) wrong("a frame does not zoom in");
  await tab.mouse.click(...at(0.5, 0.5), { count: 2, delay: 20 });
  await wait();
  if ((await places()).range !== before.range) wrong("the figure does not come back from a zoom");
}

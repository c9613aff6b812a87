// Tries the documentation's site in frames, and posts a report. `TASK` is defined by site.py.
"use strict";

const report = { answers: {}, problems: [], tried: { questions: 0, pages: 0, tables: 0, "old addresses": 0, "console blocks": 0 } };

// The result of a function, as soon as it is true; undefined if it isn't after some seconds.
async function until(condition, seconds = 10) {
  const end = performance.now() + 1000 * seconds;
  for (;;) {
    let result;
    try {
      result = condition();
    } catch (error) {
      // The frame is between two pages.
    }
    if (result) return result;
    if (performance.now() > end) return undefined;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

// Calls a function with the window of a page, which is loaded in a frame of that width.
async function visit(address, width, use) {
  const frame = document.createElement("iframe");
  frame.style = `width: ${width}px; height: 900px; border: 0`;
  frame.src = `/${address}`;
  document.body.append(frame);
  await new Promise((resolve) => frame.addEventListener("load", resolve, { once: true }));
  try {
    await use(frame.contentWindow);
  } catch (error) {
    report.problems.push(`${address}: ${error}`);
  }
  frame.remove();
}

const addressOf = (page) => {
  const [path, anchor] = page.split("#");
  return `${path}.html${anchor ? `#${anchor}` : ""}`;
};

const pageOf = (location) => (location.pathname.slice(1) + location.hash).replace(".html", "");

async function ask(question) {
  await visit(`search.html?q=${encodeURIComponent(question)}`, 1280, async (window) => {
    const { document } = window;
    await until(() => document.querySelector("#search-results .search-summary")?.textContent);
    const links = [...document.querySelectorAll("ul.search > li > a")].slice(0, 3);
    report.answers[question] = links.map((link) => pageOf(new URL(link.href)));
    report.tried.questions += 1;
  });
}

// The lines of a console block that a reader types: commands, their continued lines, and texts up to EOF.
function typed(lines) {
  const found = [];
  let open = false;
  for (const line of lines) {
    const command = line.startsWith("$ ");
    if (!command && !open) continue;
    found.push(command ? line.slice(2) : line);
    const text = found.join("\n");
    open = line.endsWith("\\") || (text.match(/EOF/g) || []).length % 2 === 1;
  }
  return found;
}

function checkCopies(page, window) {
  // The button puts its text into a field, selects that, and copies it, which a browser allows only after a click of a person.
  let copied;
  window.HTMLTextAreaElement.prototype.select = function () {
    copied = this.value;
  };
  window.document.execCommand = () => true;
  for (const block of window.document.querySelectorAll("div.highlight-console")) {
    const lines = block.querySelector("pre").innerText.split("\n");
    if (!lines.some((line) => line.startsWith("$ "))) continue;
    report.tried["console blocks"] += 1;
    copied = undefined;
    block.querySelector("button.copybtn")?.click();
    if (copied !== typed(lines).join("\n")) report.problems.push(`${page}: the copy button copies ${JSON.stringify(copied)}`);
  }
}

function checkWidth(page, width, window) {
  const { document } = window;
  const seen = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > seen)
    report.problems.push(`${page}: ${document.documentElement.scrollWidth} px wide in a window of ${width} px`);
  for (const table of document.querySelectorAll("article table.docutils")) {
    report.tried.tables += 1;
    const box = table.parentElement;
    const isCut = box.scrollWidth > box.clientWidth + 1;
    // Figures in columns scroll within their own box.
    if (isCut && (table.rows[0].cells.length < 3 || table.classList.contains("prose")))
      report.problems.push(`${page}: a table with the heads ${table.rows[0].textContent.trim().replace(/\s+/g, " ")} is cut in a window of ${width} px`);
  }
}

async function follow(old, page) {
  await visit(addressOf(old), 1280, async (window) => {
    report.tried["old addresses"] += 1;
    const frame = window.frameElement;
    const there = () => {
      const { location, document } = frame.contentWindow;
      return pageOf(location).split("#")[0] === page && document.readyState === "complete" && { location, document };
    };
    const found = await until(there);
    if (!found) {
      report.problems.push(`${old}: leads to ${pageOf(frame.contentWindow.location)} instead of ${page}`);
      return;
    }
    const anchor = found.location.hash.slice(1);
    if (anchor && !found.document.getElementById(anchor)) report.problems.push(`${old}: ${page} has no ${anchor}`);
  });
}

(async () => {
  for (const question of TASK.questions) await ask(question);
  for (const page of TASK.pages) {
    report.tried.pages += 1;
    for (const width of TASK.widths)
      await visit(addressOf(page), width, async (window) => {
        await until(() => window.document.readyState === "complete");
        checkWidth(page, width, window);
        if (width > 1000) checkCopies(page, window);
      });
  }
  for (const [old, page] of Object.entries(TASK.old)) await follow(old, page);
  await fetch("/_report", { method: "POST", body: JSON.stringify(report) });
})();

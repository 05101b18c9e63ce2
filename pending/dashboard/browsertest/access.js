// Returns the accessibility mistakes of a page, as sentences.
(() => {
  const found = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const brief = (e) => e.outerHTML.slice(0, 120);
  const name = (e) => (e.getAttribute("aria-label") ?? "") +
    (e.getAttribute("aria-labelledby") ?? "").split(" ").filter(Boolean)
      .map((id) => document.getElementById(id)?.textContent ?? "").join(" ") +
    [...(e.labels ?? [])].map((l) => l.textContent).join(" ") + (e.alt ?? "") + e.textContent;

  if (!document.documentElement.lang) found.push("the page has no language");
  if (!document.title.trim()) found.push("the page has no title");
  for (const landmark of ["header", "main", "[role=search]", "[role=status]"]) {
    if (all(landmark).length !== 1) found.push(`the page has not one ${landmark}`);
  }
  const levels = all("h1, h2, h3, h4, h5, h6").map((h) => Number(h.tagName[1]));
  if (levels.filter((l) => l === 1).length !== 1) found.push("the page has not one h1");
  if (levels[0] !== 1) found.push("the first heading is not the h1");
  levels.forEach((l, i) => {
    if (i > 0 && l > levels[i - 1] + 1) found.push(`heading ${i} skips a level`);
  });
  const named = "a, button, input:not([type=hidden]), textarea, progress, nav, section, " +
    "pre[tabindex]";
  for (const e of all(named)) {
    if (!name(e).trim()) found.push(`no name: ${brief(e)}`);
  }
  for (const e of all("img:not([alt])")) found.push(`no alternative: ${brief(e)}`);
  for (const e of all("th:not([scope])")) found.push(`no scope: ${brief(e)}`);
  for (const e of all("[style], [onclick], [tabindex]:not([tabindex='0']):not([tabindex='-1'])")) {
    found.push(`not allowed here: ${brief(e)}`);
  }
  const ids = all("[id]").map((e) => e.id);
  for (const id of ids.filter((id, i) => ids.indexOf(id) !== i)) found.push(`two ids ${id}`);
  for (const e of all("[aria-labelledby], [aria-describedby], label[for]")) {
    for (const attribute of ["aria-labelledby", "aria-describedby", "for"]) {
      const id = e.getAttribute(attribute);
      if (id && !document.getElementById(id)) found.push(`nothing has id ${id}`);
    }
  }

  // Contrast, as WCAG 2 computes it: 4.5 for text.
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => linear(v / 255));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (e) => {
    for (let at = e; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] > 0.99) return color;
    }
    return rgba(getComputedStyle(document.documentElement).colorScheme.includes("dark") &&
      matchMedia("(prefers-color-scheme: dark)").matches ? "black" : "white");
  };
  const check = (e, color, what) => {
    const [one, two] = [luminance(rgba(color)), luminance(behind(e))].sort((x, y) => y - x);
    const contrast = (one + 0.05) / (two + 0.05);
    if (contrast < 4.5) found.push(`contrast ${contrast.toFixed(2)} of ${what}: ${brief(e)}`);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (walker.currentNode.nodeValue.trim() && e.tagName !== "NOSCRIPT" && e.tagName !== "SCRIPT") {
      check(e, getComputedStyle(e).color, "text");
    }
  }
  for (const e of all("[placeholder]")) {
    check(e, getComputedStyle(e, "::placeholder").color, "the placeholder");
  }
  return found;
})();

"use strict";
(() => {
  const root = document.documentElement;
  const button = document.querySelector(".theme");
  if (button) {
    const names = ["auto", "light", "dark"];
    let at = 0;
    button.hidden = false;
    button.addEventListener("click", () => {
      at = (at + 1) % names.length;
      if (at) root.dataset.theme = names[at]; else delete root.dataset.theme;
      button.textContent = "Theme: " + names[at];
    });
  }

  // Read the values back from the step lines that are drawn: nothing is stored twice.
  const points = (path) => {
    const found = [];
    let x = 0, y = 0;
    for (const [, command, first, second] of path.getAttribute("d").matchAll(/([MHV])([-\d.]+)(?:[ ,]([-\d.]+))?/g)) {
      if (command === "M") { x = +first; y = +second; found.push([x, y, true]); }
      else if (command === "H") { x = +first; found.push([x, y, false]); }
      else { y = +first; found.push([x, y, false]); }
    }
    return found;
  };
  const before = (list, x) => {
    let low = 0, high = list.length;
    while (low < high) { const middle = (low + high) >> 1; if (list[middle][0] <= x) low = middle + 1; else high = middle; }
    return low ? list[low - 1] : null;
  };
  const minus = (text) => text.replace("-", "\u2212");
  const clock = (seconds) => {
    const s = Math.max(0, Math.round(seconds)), pad = (n) => String(n).padStart(2, "0");
    const hours = Math.floor(s / 3600), minutes = Math.floor(s / 60) % 60;
    return (hours ? hours + ":" + pad(minutes) : minutes) + ":" + pad(s % 60);
  };
  for (const svg of document.querySelectorAll("svg.plot")) {
    const paths = [...svg.querySelectorAll("path[data-name]")];
    const readout = svg.closest("figure").querySelector(".readout");
    if (!paths.length || !readout) continue;
    const [left, right, top, bottom] = svg.dataset.frame.split(" ").map(Number);
    const [x0, x1, y0, y1] = svg.dataset.range.split(" ").map(Number);
    const digits = Math.max(0, Math.min(8, 3 - Math.floor(Math.log10(y1 - y0))));
    const format = new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    let lines = null;
    const cursor = document.createElementNS("http://www.w3.org/2000/svg", "path");
    cursor.setAttribute("class", "cursor");
    const leave = () => { cursor.remove(); readout.textContent = ""; };
    svg.addEventListener("pointerleave", leave);
    svg.addEventListener("pointermove", (event) => {
      lines = lines || paths.map((path) => [path.dataset.name, points(path)]);
      const box = svg.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
      if (x < left || x > right) { leave(); return; }
      cursor.setAttribute("d", `M${x} ${top}V${bottom}`);
      svg.append(cursor);
      const words = [clock(x0 + (x - left) / (right - left) * (x1 - x0))];
      readout.textContent = "";
      for (const [name, list] of lines) {
        const point = before(list, x);
        if (!point) continue;
        words.push(name + " \u2248 " + minus(format.format(y0 + (bottom - point[1]) / (bottom - top) * (y1 - y0))));
      }
      readout.textContent = words.join(" \u00b7 ");
    });
  }
})();

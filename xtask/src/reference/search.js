// Searches the items of `items.js`. The query is in the address (`index.html#q=evtchn`), so that a
// search can be linked.
"use strict";

(() => {
  const MOST = 60;
  const input = document.getElementById("query");
  const results = document.getElementById("results");
  const status = document.getElementById("status");

  // The better a name fits, the smaller the number; negative if it does not.
  const rank = (name, words) => {
    const lower = name.toLowerCase();
    if (!words.every((word) => lower.includes(word))) return -1;
    if (lower === words.join(" ")) return 0;
    if (lower.startsWith(words[0])) return 1;
    return lower.split(/[_.]/).some((part) => part.startsWith(words[0])) ? 2 : 3;
  };

  const search = (query) => {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    results.replaceChildren();
    document.body.classList.toggle("searching", words.length > 0);
    if (words.length === 0) {
      status.textContent = "";
      return;
    }
    const found = [];
    for (const item of ITEMS) {
      const fits = rank(item[0], words);
      if (fits >= 0) found.push([fits, item]);
    }
    found.sort(([a, x], [b, y]) => a - b || x[0].length - y[0].length || (x[0] < y[0] ? -1 : 1));
    status.textContent = `${found.length} ${found.length === 1 ? "item" : "items"}`;
    for (const [, [name, kind, page, id]] of found.slice(0, MOST)) {
      const line = document.createElement("li");
      const link = document.createElement("a");
      link.href = `${PAGES[page]}#${id}`;
      link.textContent = name;
      const about = document.createElement("span");
      about.textContent = ` ${KINDS[kind]} in ${PAGES[page].replace(/\.html$/, "")}`;
      line.append(link, about);
      results.append(line);
    }
  };

  const fromAddress = () => {
    const match = location.hash.match(/^#q=(.*)$/);
    if (match) {
      try {
        input.value = decodeURIComponent(match[1]);
      } catch {
        input.value = match[1];
      }
    }
    if (match || input.value === "") search(input.value);
  };

  input.addEventListener("input", () => {
    search(input.value);
    const hash = input.value === "" ? location.pathname : `#q=${encodeURIComponent(input.value)}`;
    history.replaceState(null, "", hash);
  });
  document.getElementById("search").addEventListener("submit", (event) => {
    event.preventDefault();
    results.querySelector("a")?.click();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== input) {
      event.preventDefault();
      input.focus();
    } else if (event.key === "Escape" && document.activeElement === input) {
      input.value = "";
      input.dispatchEvent(new Event("input"));
    }
  });
  results.addEventListener("click", () => {
    input.value = "";
    search("");
  });
  addEventListener("hashchange", fromAddress);
  fromAddress();
})();

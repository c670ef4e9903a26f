"use strict";
// The table of flags: sorts, searches and filters in memory and draws a hundred rows at a time.
// Values from the data reach the page through textContent only.
(() => {
  const CHUNK = 100;
  const CARDS = 24;
  const RANK = 0, ID = 1, GIVEN = 2, SUGGESTED = 3, PROBABILITY = 4, LOSS = 5, SELF = 6;
  const RANKS = 7, REASON = 8, SNIPPET = 9, PICTURE = 10, HAS_CARD = 11, STATE = 12;
  const byId = (id) => document.getElementById(id);

  function showCards() {
    const cards = [...document.querySelectorAll("#flags .card")];
    const more = byId("more-cards");
    if (!more) return () => {};
    let visible = 0;
    const show = (wanted) => {
      visible = Math.min(Math.max(wanted, visible), cards.length);
      cards.forEach((card, position) => { card.hidden = position >= visible; });
      more.hidden = visible === cards.length;
      more.textContent = `Show ${Math.min(CARDS, cards.length - visible)} more of ${cards.length - visible}`;
    };
    more.addEventListener("click", () => show(visible + CARDS));
    show(CARDS);
    const reveal = () => {
      const match = /^#flag-(\d+)$/.exec(location.hash);
      if (!match) return;
      const position = cards.findIndex((card) => card.id === `flag-${match[1]}`);
      if (position >= 0) {
        show(position + 1);
        cards[position].scrollIntoView({ block: "center" });
      }
    };
    addEventListener("hashchange", reveal);
    reveal();
  }

  function showTable() {
    const { signals, rows } = JSON.parse(byId("flag-rows").textContent);
    const body = byId("rows");
    if (!body) return;
    const scroller = byId("scroller");
    const haystacks = new Map(rows.map((row) => [
      row, [row[ID], row[GIVEN], row[SUGGESTED], row[REASON], row[SNIPPET]].join("\n").toLowerCase(),
    ]));
    const others = signals.map((_, place) => place).slice(2);  // loss and self-influence have columns with their values
    const columns = [
      ...[RANK, ID, GIVEN, SUGGESTED, PROBABILITY, LOSS, SELF].map((place) => (row) => row[place]),
      ...others.map((place) => (row) => row[RANKS][place]),
      (row) => row[REASON],
    ];
    const compareText = new Intl.Collator("en", { numeric: true }).compare;
    const headings = [...document.querySelectorAll("table.flags th")];
    const controls = {
      search: byId("search"), given: byId("filter-given"), suggested: byId("filter-suggested"), state: byId("filter-state"),
    };
    const order = { column: RANK, descending: false };
    let matching = rows;
    let drawn = 0;

    function significant(value) {
      return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(2).replace("e", "\u202fe") : value.toPrecision(3);
    }

    function cell(row, text, style) {
      const element = row.insertCell();
      const isolated = document.createElement("bdi");
      isolated.textContent = text;
      if (style) element.className = style;
      element.append(isolated);
      return element;
    }

    function rankCell(row, rank, value) {
      const element = cell(row, value === undefined ? "" : significant(value), "number");
      const place = document.createElement("span");
      place.className = "by-signal";
      place.textContent = `#${rank.toLocaleString("en")}`;
      element.append(place);
    }

    // A number stands for a picture that a card shows, too; a text is the picture itself.
    function pictureOf(picture) {
      const namespace = document.querySelector("svg").namespaceURI;
      const svg = document.createElementNS(namespace, "svg");
      svg.setAttribute("class", "picture");
      svg.setAttribute("aria-hidden", "true");
      const shared = typeof picture === "number";
      const content = document.createElementNS(namespace, shared ? "use" : "image");
      content.setAttribute("href", shared ? `#picture-${picture}` : picture);
      if (!shared) {
        content.setAttribute("width", "100%");
        content.setAttribute("height", "100%");
        if (picture.slice(5, 14) === "image/png") content.setAttribute("class", "pixels");  // small: not smoothed
      }
      svg.append(content);
      return svg;
    }

    function drawRow(values) {
      const row = document.createElement("tr");
      const rank = cell(row, values[RANK].toLocaleString("en"), "number");
      if (values[HAS_CARD]) {
        const link = document.createElement("a");
        link.href = `#flag-${Number(values[RANK])}`;
        link.append(...rank.childNodes);
        rank.append(link);
      }
      const example = cell(row, values[ID], "example");
      if (values[PICTURE] !== null) example.prepend(pictureOf(values[PICTURE]));
      if (values[SNIPPET]) {
        const snippet = document.createElement("bdi");
        snippet.className = "snippet";
        snippet.textContent = values[SNIPPET];
        example.append(snippet);
      }
      cell(row, values[GIVEN], "given");
      cell(row, values[SUGGESTED], "suggested");
      cell(row, `${(100 * values[PROBABILITY]).toFixed(1)}\u202f%`, "number");
      rankCell(row, values[RANKS][0], values[LOSS]);
      rankCell(row, values[RANKS][1], values[SELF]);
      others.forEach((place) => rankCell(row, values[RANKS][place]));
      cell(row, values[REASON], "reason");
      return row;
    }

    function drawMore() {
      const next = matching.slice(drawn, drawn + CHUNK);
      body.append(...next.map(drawRow));
      drawn += next.length;
    }

    function update() {
      const text = controls.search.value.trim().toLowerCase();
      const given = controls.given.value, suggested = controls.suggested.value, state = controls.state.value;
      matching = rows.filter((row) =>
        (!given || row[GIVEN] === given) && (!suggested || row[SUGGESTED] === suggested) &&
        (!state || row[STATE] === state) &&
        (!text || haystacks.get(row).includes(text)));
      const { column, descending } = order;
      const value = columns[column];
      const compare = typeof value(rows[0]) === "number"
        ? (a, b) => value(a) - value(b)
        : (a, b) => compareText(value(a), value(b));
      matching.sort((a, b) => (descending ? compare(b, a) : compare(a, b)) || a[RANK] - b[RANK]);
      body.replaceChildren();
      drawn = 0;
      drawMore();
      scroller.scrollTop = 0;
      byId("shown").textContent = matching.length === rows.length
        ? `${rows.length.toLocaleString("en")} flags`
        : `${matching.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} flags`;
      headings.forEach((heading, position) => {
        if (position === column) heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
        else heading.removeAttribute("aria-sort");
      });
    }

    headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
      const largestFirst = [PROBABILITY, LOSS, SELF].includes(column);
      order.descending = order.column === column ? !order.descending : largestFirst;
      order.column = column;
      update();
    }));
    Object.values(controls).forEach((control) => control.addEventListener("input", update));
    scroller.addEventListener("scroll", () => {
      const left = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
      if (left < 600 && drawn < matching.length) drawMore();
    });
    document.querySelectorAll("button.pair").forEach((button) => button.addEventListener("click", () => {
      controls.search.value = "";
      controls.given.value = button.dataset.given;
      controls.suggested.value = button.dataset.suggested;
      controls.state.value = "";
      update();
      byId("table").scrollIntoView();
    }));
    update();
  }

  showCards();
  showTable();
})();

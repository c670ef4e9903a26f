// Presses the button of a typed key: for k the one whose container has a class that begins with st-key-press-k-.
// Streamlit's own shortcuts cannot be used: it keeps the letters r and c for itself.
// A sign for "less" with a letter behind it, even here, makes Streamlit drop the whole script.
(() => {
  if (window.influenceKeys) return;
  window.influenceKeys = true;

  const arrows = { ArrowLeft: "p", ArrowRight: "n" };
  const writes = (element) => element.closest("input, textarea, select, [contenteditable=true]") !== null;
  const leave = (element) => setTimeout(() => element.blur(), 150);
  const shown = () => document.querySelector("[data-iv-step]")?.dataset.ivStep;
  const find = (key, step) => document.querySelector(`.st-key-press-${key}-${step}`);

  // The buttons are drawn a moment after the question that they belong to. A key is meant for the question that was
  // there when it was typed: it waits for the buttons, and is forgotten if another question comes first.
  function press(key, step, patience) {
    if (shown() !== step || patience === 0) return;
    const input = find(key, step)?.querySelector("input");
    const button = find(key, step)?.querySelector("button");
    if (input) {
      input.select(); // focused, and what is typed takes the place of the label there
      input.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true })); // opens the list
    } else if (button) button.click();
    else setTimeout(() => press(key, step, patience - 1), 20);
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.target instanceof Element)) return;
    if (writes(event.target)) {
      if (event.key === "Enter" || event.key === "Escape") leave(event.target); // so that the next key judges again
      return;
    }
    const key = arrows[event.key] ?? event.key.toLowerCase();
    if (!/^[dklnpruz]$/.test(key) || shown() === undefined) return;
    event.preventDefault();
    event.stopImmediatePropagation(); // r would run Streamlit's script again
    if (!event.repeat) press(key, shown(), 250); // a key held down judges one example
  }, true);

  document.addEventListener("click", (event) => {
    if (event.target instanceof Element && event.target.closest("[role=option]")) leave(document.activeElement);
  }, true);
})();

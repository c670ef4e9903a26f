// Presses the button of a typed key: for k the one whose container has a class that begins with st-key-press-k-.
// Streamlit's own shortcuts cannot be used: it keeps the letters r and c for itself.
// A sign for "less" with a letter behind it, even here, makes Streamlit drop the whole script.
(() => {
  if (window.influenceKeys) return;
  window.influenceKeys = true;

  const arrows = { ArrowLeft: "p", ArrowRight: "n" };
  const writes = (element) => element.closest("input, textarea, select, [contenteditable=true]") !== null;
  const leave = (element) => setTimeout(() => element.blur(), 150);

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.target instanceof Element)) return;
    if (writes(event.target)) {
      if (event.key === "Enter" || event.key === "Escape") leave(event.target); // so that the next key judges again
      return;
    }
    const key = arrows[event.key] ?? event.key.toLowerCase();
    if (!/^[a-z]$/.test(key)) return;
    const pressed = document.querySelector(`[class*="st-key-press-${key}-"]`);
    if (pressed === null && key !== "r") return;
    event.preventDefault();
    event.stopImmediatePropagation(); // r would run Streamlit's script again
    if (event.repeat || pressed === null) return; // a key held down judges one example
    const input = pressed.querySelector("input");
    if (input !== null) input.focus();
    else pressed.querySelector("button:not([disabled])")?.click();
  }, true);

  document.addEventListener("click", (event) => {
    if (event.target instanceof Element && event.target.closest("[role=option]")) leave(document.activeElement);
  }, true);
})();

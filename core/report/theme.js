// The switch between light and dark; until it is used, the reader's system decides.
const onTheme = changed => {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");
  const isDark = () => (root.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
  const told = () => {
    button.textContent = isDark() ? "light" : "dark";
    button.setAttribute("aria-label", `switch to ${button.textContent} colours`);
    changed();
  };
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; told(); });
  dark.addEventListener("change", told);
  told();
};

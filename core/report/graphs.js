// Boxes of the model and the search find each other: a box that is clicked is looked for, and what is
// looked for is marked among the boxes.
const boxesFind = finder => {
  const boxes = [...document.querySelectorAll("[data-find]")];
  for (const box of boxes) {
    box.setAttribute("tabindex", "0");
    box.setAttribute("role", "button");
    const find = () => { finder.find(box.dataset.find); document.getElementById("search").scrollIntoView({ block: "nearest" }); };
    box.addEventListener("click", find);
    box.addEventListener("keydown", event => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); find(); }
    });
  }
  finder.search.addEventListener("input", () => {
    const wanted = finder.search.value.trim().toLowerCase();
    for (const box of boxes) box.classList.toggle("found", Boolean(wanted) && box.dataset.find.toLowerCase().includes(wanted));
  });
};

// The classes as bars that are buttons: a network of few classes keeps their order, one of many shows the likeliest.
const FEW = 15;
const LIKELIEST = 5;

function nameOf(target) {
  return settings.names[target] ?? `class ${target}`;
}

function percent(share) {
  return `${(100 * share).toFixed(1)}%`;
}

// The classes that have a bar: all, or the likeliest and the one explained.
function barred({ shares, target }) {
  const classes = shares.map((_, index) => index);
  if (classes.length <= FEW) return classes;
  const likeliest = classes.sort((a, b) => shares[b] - shares[a]).slice(0, LIKELIEST);
  return likeliest.includes(target) ? likeliest : [...likeliest, target];
}

function newBar(choose) {
  const bar = document.createElement("button");
  bar.type = "button";
  bar.className = "bar";
  const [name, track, number] = ["bdi", "span", "span"].map((tag) => document.createElement(tag));
  track.className = "track";
  number.className = "number";
  track.append(document.createElement("span"));
  bar.append(name, track, number);
  bar.addEventListener("click", () => choose(Number(bar.dataset.target)));
  return bar;
}

function fillBar(bar, index, { shares, logits, target }) {
  const [name, track, number] = bar.children;
  bar.dataset.target = index;
  bar.setAttribute("aria-pressed", index === target);
  bar.disabled = !targets.has(index);
  bar.title = bar.disabled ? "This page cannot explain that class" : "";
  name.textContent = nameOf(index);
  track.firstChild.style.width = `${100 * shares[index]}%`;
  number.textContent = settings.probability ? percent(shares[index]) : rounded(logits.values[index]);
}

function showBars(made, choose) {
  const classes = barred(made);
  while (view.bars.children.length > classes.length) view.bars.lastChild.remove();
  while (view.bars.children.length < classes.length) view.bars.append(newBar(choose));
  const longest = Math.max(...classes.map((index) => nameOf(index).length));
  view.bars.style.setProperty("--name", `${Math.min(22, longest + 1)}ch`);
  classes.forEach((index, place) => fillBar(view.bars.children[place], index, made));
}

// Arrows go from bar to bar.
function moveAmongBars(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !event.target.matches(".bar")) return;
  const bars = [...view.bars.children].filter((bar) => !bar.disabled);
  const to = bars[bars.indexOf(event.target) + step];
  if (to) to.focus();
  event.preventDefault();
}

// A field for the name of any class, where not all have a bar.
function startNames(choose) {
  if (!view.other) return;
  view.names.append(
    ...settings.targets.map((target) => {
      const option = document.createElement("option");
      option.value = nameOf(target);
      return option;
    }),
  );
  view.other.addEventListener("change", () => {
    const target = settings.targets.find((one) => nameOf(one) === view.other.value);
    if (target === undefined) return;
    view.other.value = "";
    choose(target);
  });
}

const { cards, failed, grouped } = JSON.parse(document.getElementById("data").textContent);
const PAGE = 60, $ = (name) => document.getElementById(name), dialog = document.querySelector("dialog");
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
let found = cards, shown = 0, open = 0, wall = $("grid");
const make = (name, className, text) => {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};
const address = (file) => file && (file.small || file.file);
for (const card of cards) {
  const facts = Object.entries(card.facts).map(([name, value]) => name + " " + value);
  card.text = [card.prompt, card.id, card.step, card.medium, ...facts].join(" \n ").toLocaleLowerCase();
}
const line = (card) => ["size", ...new Set(["guidance", ...card.cell])].filter((name) => name in card.facts)
  .map((name) => (name === "size" ? card.facts[name] : name + " " + card.facts[name])).join(" · ");
const playing = new IntersectionObserver((seen) => {
  for (const entry of seen) {
    if (!entry.isIntersecting) entry.target.pause();
    else if (!still) entry.target.play().catch(() => { entry.target.controls = true; });
  }
});
function pictureOf(card, source) {
  const image = make("img");
  image.loading = "lazy"; image.decoding = "async"; image.alt = card.prompt;
  image.addEventListener("load", () => image.classList.toggle("coarse", image.naturalWidth <= 96));
  image.src = source;
  return image;
}
function videoOf(card, source, controls) {
  const video = make("video");
  video.muted = true; video.loop = true; video.playsInline = true; video.preload = "metadata"; video.controls = controls || still;
  video.setAttribute("aria-label", card.prompt);
  video.addEventListener("loadedmetadata", () => video.classList.toggle("coarse", video.videoWidth <= 96));
  if (card.picture) video.poster = address(card.picture);
  video.src = source;
  return video;
}
function soundOf(card, source) {
  const sound = make("audio");
  sound.controls = true; sound.preload = "metadata"; sound.src = source;
  sound.setAttribute("aria-label", card.prompt);
  sound.addEventListener("play", () => { for (const other of document.querySelectorAll("audio")) if (other !== sound) other.pause(); });
  return sound;
}
function cloudOf(card, wheel) {
  const canvas = make("canvas");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", card.prompt + "; turn with the mouse or the arrow keys");
  canvas.view = showPoints(canvas, card.small, wheel);
  return canvas;
}
const linkOf = (card) => make("div", "link", card.files[0].name.split("/").pop() + " can be opened, but not shown here");
function opener(index, card, content) {
  const button = make("button");
  button.setAttribute("aria-label", "Enlarge: " + card.prompt);
  button.tabIndex = 0;
  button.append(content); button.addEventListener("click", () => enlarge(index));
  return button;
}
function viewOf(card, index) {
  const view = make("div", "view " + card.kind), source = card.small || card.file;
  if (card.kind === "points") {
    const canvas = cloudOf(card, false);
    canvas.addEventListener("click", () => { if (canvas.view.moved < 5) enlarge(index); });
    canvas.addEventListener("keydown", (event) => { if (event.key === "Enter") enlarge(index); });
    view.append(canvas);
  } else if (card.kind === "sound") {
    view.append(opener(index, card, card.picture ? pictureOf(card, address(card.picture)) : make("span", "", "♪")), soundOf(card, source));
  } else if (card.kind === "video") {
    const video = videoOf(card, source, false);
    playing.observe(video);
    view.append(opener(index, card, video));
  } else if (card.kind === "picture") {
    view.append(opener(index, card, pictureOf(card, source)));
  } else {
    view.append(opener(index, card, card.picture ? pictureOf(card, address(card.picture)) : linkOf(card)));
  }
  return view;
}
function tile(card, index) {
  const figure = make("figure", "card"), caption = make("figcaption");
  if (!grouped) {
    const prompt = make("div", "prompt", card.prompt || "(empty prompt)");
    prompt.dir = "auto"; prompt.title = card.prompt;
    caption.append(prompt);
  } else caption.append(make("div", "medium", card.medium));
  caption.append(make("div", "facts", line(card)));
  figure.append(viewOf(card, index), caption);
  return figure;
}
function more() {
  let last = shown + PAGE;
  while (grouped && last < found.length && found[last].prompt_id === found[last - 1].prompt_id) last += 1;
  found.slice(shown, last).forEach((card, index) => {
    if (grouped && (shown + index === 0 || found[shown + index - 1].prompt_id !== card.prompt_id)) {
      const heading = make("h2", "", card.prompt || "(empty prompt)");
      heading.dir = "auto";
      wall = make("div", "tiles");
      $("grid").append(heading, wall);
    }
    wall.append(tile(card, shown + index));
  });
  shown = Math.min(last, found.length);
  $("more").hidden = shown >= found.length;
}
function refresh() {
  const words = $("filter").value.toLocaleLowerCase().split(/\s+/).filter(Boolean), step = $("step").value;
  found = cards.filter((card) => (!step || card.step === step) && words.every((word) => card.text.includes(word)));
  playing.disconnect();
  $("grid").replaceChildren(); $("grid").className = grouped ? "" : "tiles"; wall = $("grid"); shown = 0; more();
  $("none").hidden = found.length > 0;
  $("count").textContent = found.length === cards.length ? cards.length + (cards.length === 1 ? " sample" : " samples") : found.length + " of " + cards.length;
}
function enlarge(index) {
  open = (index + found.length) % found.length;
  const card = found[open], stage = dialog.querySelector(".stage"), facts = dialog.querySelector("dl");
  for (const sound of document.querySelectorAll("audio")) sound.pause();
  const parts = {
    picture: () => [pictureOf(card, card.file)],
    video: () => { const video = videoOf(card, card.small || card.file, true); video.autoplay = !still; return [video]; },
    sound: () => [...(card.picture ? [pictureOf(card, card.picture.file)] : []), soundOf(card, card.small || card.file)],
    points: () => [cloudOf(card, true)],
    link: () => [card.picture ? pictureOf(card, card.picture.file) : linkOf(card)],
  };
  stage.className = "stage " + card.kind;
  stage.replaceChildren(...parts[card.kind]());
  dialog.querySelector("p").textContent = card.prompt || "(empty prompt)";
  facts.replaceChildren(...Object.entries({ sample: card.id, medium: card.medium, step: card.step, ...card.facts })
    .flatMap(([name, value]) => [make("dt", "", name.replaceAll("_", " ")), make("dd", "", value)]));
  $("files").replaceChildren(...card.files.map((file) => {
    const link = make("a", "", card.files.length === 1 ? "Open file" : file.name.split("/").pop());
    link.target = "_blank"; link.href = file.file;
    return link;
  }));
  if (!dialog.open) dialog.showModal();
}
dialog.addEventListener("click", (event) => {
  const go = event.target.dataset.go;
  if (go === "0" || event.target === dialog) dialog.close();
  else if (go) enlarge(open + Number(go));
});
dialog.addEventListener("close", () => dialog.querySelector(".stage").replaceChildren());
dialog.addEventListener("keydown", (event) => {
  if (["CANVAS", "AUDIO", "VIDEO"].includes(event.target.tagName)) return;
  if (event.key === "ArrowRight") enlarge(open + 1);
  if (event.key === "ArrowLeft") enlarge(open - 1);
});
const steps = [...new Set(cards.map((card) => card.step))];
if (steps.length > 1) {
  $("step").hidden = false;
  $("step").append(...["", ...steps].map((step) => { const option = make("option", "", step || "all steps"); option.value = step; return option; }));
}
if (failed.length) {
  $("failed").hidden = false;
  $("failed").querySelector("summary").textContent = failed.length + (failed.length === 1 ? " sample" : " samples") + " could not be made";
  $("failed").querySelector("ul").append(...failed.slice(0, 200).map((letter) => make("li", "", letter.id + " — " + letter.prompt + ": " + letter.error)));
}
let timer = 0;
$("filter").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(refresh, 120); });
$("step").addEventListener("change", refresh);
const resize = () => document.documentElement.style.setProperty("--tile", $("tile").value + "px");
$("tile").addEventListener("input", resize);
$("more").addEventListener("click", more);
new IntersectionObserver((seen) => { if (seen.some((entry) => entry.isIntersecting) && shown) more(); }, { rootMargin: "600px" }).observe($("more"));
resize();
refresh();

"use strict";
// Coloured points on a plain canvas, turned with the mouse, a finger or the arrow keys. No WebGL: a browser gives a page
// only about sixteen of those contexts, and a page may show hundreds of clouds.

/** Rows of int16 x, y, z and uint8 red, green, blue, in base64, as `orchestrator/previews.py` writes them. */
function readPoints(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)), view = new DataView(bytes.buffer);
  const count = Math.floor(bytes.length / 9), places = new Float32Array(3 * count), colours = new Uint8Array(3 * count);
  for (let i = 0; i < count; i++) {
    for (let axis = 0; axis < 3; axis++) {
      places[3 * i + axis] = view.getInt16(9 * i + 2 * axis, true) / 32767;
      colours[3 * i + axis] = bytes[9 * i + 6 + axis];
    }
  }
  return { count, places, colours };
}

/** Show points on a canvas. wheel: whether the wheel comes closer. Returns the view: yaw, pitch, distance, draw(). */
function showPoints(canvas, text, wheel) {
  const cloud = readPoints(text), context = canvas.getContext("2d"), depth = new Float32Array(cloud.count);
  const order = Uint32Array.from({ length: cloud.count }, (_, index) => index);
  const view = { yaw: -0.6, pitch: 0.35, distance: 2.6, moved: 0, draw };
  let waiting = false;
  function later() {
    if (!waiting) { waiting = true; requestAnimationFrame(draw); }
  }
  function draw() {
    waiting = false;
    const scale = window.devicePixelRatio || 1, width = Math.round(canvas.clientWidth * scale), height = Math.round(canvas.clientHeight * scale);
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    const [cy, sy, cp, sp] = [Math.cos(view.yaw), Math.sin(view.yaw), Math.cos(view.pitch), Math.sin(view.pitch)];
    const focal = Math.min(width, height) * 1.05, screen = new Float32Array(2 * cloud.count);
    for (let i = 0; i < cloud.count; i++) {
      const x = cloud.places[3 * i], y = cloud.places[3 * i + 1], z = cloud.places[3 * i + 2];
      const across = cy * x + sy * z, ahead = cy * z - sy * x; // y is up
      const up = cp * y - sp * ahead, near = sp * y + cp * ahead;
      depth[i] = view.distance - near;
      screen[2 * i] = width / 2 + (across * focal) / depth[i];
      screen[2 * i + 1] = height / 2 - (up * focal) / depth[i];
    }
    order.sort((a, b) => depth[b] - depth[a]);
    context.clearRect(0, 0, width, height);
    // Points stand closer in dense clouds, so each is drawn smaller: about half of the middle is covered in the end.
    const size = Math.max(1.2 * scale, (1.7 * focal) / Math.sqrt(cloud.count) / 4);
    for (const i of order) {
      if (depth[i] < 0.1) continue;
      const light = Math.max(0.55, Math.min(1, 1.25 - 0.25 * (depth[i] - view.distance + 1))), side = (size * view.distance) / depth[i];
      const shade = (channel) => Math.round(cloud.colours[3 * i + channel] * light);
      context.fillStyle = `rgb(${shade(0)},${shade(1)},${shade(2)})`;
      if (side > 3 * scale) {
        context.beginPath();
        context.arc(screen[2 * i], screen[2 * i + 1], 0.56 * side, 0, 7);
        context.fill();
      } else context.fillRect(screen[2 * i] - side / 2, screen[2 * i + 1] - side / 2, side, side);
    }
  }
  function turn(across, down) {
    view.yaw += across;
    view.pitch = Math.max(-1.5, Math.min(1.5, view.pitch + down));
    later();
  }
  let last = null;
  canvas.addEventListener("pointerdown", (event) => {
    last = [event.clientX, event.clientY];
    view.moved = 0;
    if (event.isTrusted) canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    const [across, down] = [event.clientX - last[0], event.clientY - last[1]];
    last = [event.clientX, event.clientY];
    view.moved += Math.abs(across) + Math.abs(down);
    turn(across / 90, down / 90);
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { last = null; });
  canvas.addEventListener("keydown", (event) => {
    const turns = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] }[event.key];
    const steps = { "+": 0.9, "=": 0.9, "-": 1.1 }[event.key];
    if (turns) turn(...turns);
    if (steps) closer(steps);
    if (turns || steps) { event.preventDefault(); event.stopPropagation(); }
  });
  function closer(factor) {
    view.distance = Math.max(1.2, Math.min(8, view.distance * factor));
    later();
  }
  if (wheel) canvas.addEventListener("wheel", (event) => { event.preventDefault(); closer(event.deltaY > 0 ? 1.1 : 0.9); }, { passive: false });
  new ResizeObserver(later).observe(canvas);
  return view;
}

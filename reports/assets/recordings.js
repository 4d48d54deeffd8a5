// Draws recordings on canvases: metres (or torsos), z up, seen from in front of the person, who faces +y.
// Joints are int16 thousandths (frames, bodies, joints, 3). One clock moves all figures; those out of sight rest.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const { bones, head, ends, colours, pace, planar } = data.layout;
const style = getComputedStyle(document.documentElement);
const palette = {};
function readPalette() {
  for (const name of ["trunk", "left-arm", "left-leg", "right-arm", "right-leg", "floor", "shadow", "card"]) {
    palette[name] = style.getPropertyValue("--" + name).trim();
  }
}
readPalette();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readPalette(); figures.forEach((f) => (f.stale = true)); });

const FRONT = planar ? { yaw: 0, pitch: 0 } : { yaw: 0.35, pitch: 0.2 };
const THICK = planar ? 0.07 : 0.042; // metres or torsos
const TRAIL = 16; // frames
const REST = 12; // frames between the end and the next start
const still = "still" in document.body.dataset; // such a page moves when it is asked to
const clock = { time: 0, speed: 1, playing: !still && !matchMedia("(prefers-reduced-motion: reduce)").matches, last: 0 };

function decode(clip) {
  if (clip.values) return clip;
  const bytes = Uint8Array.from(atob(clip.joints), (c) => c.charCodeAt(0));
  clip.values = new Int16Array(bytes.buffer);
  clip.stride = clip.values.length / clip.frames;
  clip.joints_each = clip.stride / clip.bodies / 3;
  clip.drop = new Set(clip.hidden);
  const low = [1e9, 1e9, 1e9], high = [-1e9, -1e9, -1e9];
  for (let i = 0; i < clip.values.length; i++) {
    if (clip.drop.has(Math.floor(i / 3) % clip.joints_each)) continue;
    const axis = i % 3, value = clip.values[i] / 1000;
    if (value < low[axis]) low[axis] = value;
    if (value > high[axis]) high[axis] = value;
  }
  clip.low = low;
  clip.high = high;
  clip.centre = low.map((v, i) => (v + high[i]) / 2);
  return clip;
}

class Figure {
  constructor(canvas, clip) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.view = { ...FRONT };
    this.shown = false;
    this.stale = true;
    this.show(clip);
    this.listen();
  }

  show(clip) {
    this.clip = decode(clip);
    this.stale = true;
  }

  listen() {
    let from = null;
    this.canvas.addEventListener("pointerdown", (event) => {
      from = [event.clientX, event.clientY, this.view.yaw, this.view.pitch];
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      this.view.yaw = from[2] + (event.clientX - from[0]) * 0.01;
      this.view.pitch = Math.max(-0.3, Math.min(1.45, from[3] + (event.clientY - from[1]) * 0.008));
      this.stale = true;
    });
    for (const end of ["pointerup", "pointercancel"]) this.canvas.addEventListener(end, () => (from = null));
    this.canvas.addEventListener("dblclick", () => { this.view = { ...FRONT }; this.stale = true; });
  }

  // Where the clip is now: a frame and the way to the next one. It rests a little at the end and starts again.
  moment() {
    const { frames, every, total } = this.clip;
    if (frames < 2) return [0, 0];
    if (still && !clock.time) return [Math.floor(frames / 2), 0]; // says more than the first
    const at = ((clock.time * pace) % ((this.loop || total) - 1 + REST)) / every;
    const frame = Math.min(Math.floor(at), frames - 1);
    return [frame, frame === frames - 1 ? 0 : at - frame];
  }

  point(frame, part, body, joint) {
    const { values, stride, joints_each, centre } = this.clip;
    const at = frame * stride + (body * joints_each + joint) * 3;
    const next = part > 0 ? at + stride : at;
    return [0, 1, 2].map((axis) => (values[at + axis] + (values[next + axis] - values[at + axis]) * part) / 1000 - centre[axis]);
  }

  // To the picture: x, y, how near, in pixels.
  flat([x, y, z]) {
    const { yaw, pitch } = this.view;
    const right = -x * Math.cos(yaw) + y * Math.sin(yaw);
    const near = x * Math.sin(yaw) + y * Math.cos(yaw);
    const up = z * Math.cos(pitch) - near * Math.sin(pitch);
    const depth = near * Math.cos(pitch) + z * Math.sin(pitch);
    const size = this.scale * (7 / (7 - Math.max(-6, Math.min(4, depth))));
    return [this.width / 2 + right * size, this.height * 0.51 - up * size, depth, size];
  }

  resize() {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const { clientWidth, clientHeight } = this.canvas;
    if (this.width !== clientWidth || this.height !== clientHeight || this.ratio !== ratio) {
      this.canvas.width = clientWidth * ratio;
      this.canvas.height = clientHeight * ratio;
      Object.assign(this, { width: clientWidth, height: clientHeight, ratio, stale: true });
    }
    const { low, high } = this.clip;
    const across = Math.max(1.1, Math.hypot(high[0] - low[0], 0.6 * (high[1] - low[1])));
    const tall = Math.max(1.5, high[2] - low[2]);
    this.scale = Math.min((0.9 * this.width) / across, (0.74 * this.height) / tall);
  }

  draw() {
    this.resize();
    if (!this.width) return;
    const { context, clip } = this;
    const [frame, part] = this.moment();
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    context.lineCap = context.lineJoin = "round";
    const floor = clip.low[2] - clip.centre[2] - 0.02;
    if (!planar) this.ground(floor);
    const strokes = [];
    for (let body = 0; body < clip.bodies; body++) {
      const points = Array.from({ length: clip.joints_each }, (_, joint) => this.point(frame, part, body, joint));
      this.trails(frame, body, points);
      for (const [child, parent, kind] of bones) {
        if (clip.drop.has(child) || clip.drop.has(parent)) continue;
        if (!planar) {
          const below = [points[child], points[parent]].map(([x, y]) => this.flat([x, y, floor]));
          this.line(...below, palette.shadow, 0.05, 1);
        }
        const a = this.flat(points[child]), b = this.flat(points[parent]);
        strokes.push({ depth: (a[2] + b[2]) / 2, a, b, colour: palette[colours[kind]], faint: body > 0 ? 0.5 : 1 });
      }
      if (head >= 0 && !clip.drop.has(head)) {
        const at = this.flat(points[head]);
        strokes.push({ depth: at[2], at, colour: palette.trunk, faint: body > 0 ? 0.5 : 1 });
      }
    }
    strokes.sort((one, other) => one.depth - other.depth);
    for (const stroke of strokes) {
      if (stroke.at) this.ball(stroke.at, stroke.colour, stroke.faint);
      else this.line(stroke.a, stroke.b, stroke.colour, THICK, stroke.faint);
    }
  }

  ground(floor) {
    const { context } = this;
    const reach = 1.5, step = 0.5;
    context.strokeStyle = palette.floor;
    context.lineWidth = 1;
    context.beginPath();
    for (let at = -reach; at <= reach + 1e-6; at += step) {
      for (const [from, to] of [[[at, -reach, floor], [at, reach, floor]], [[-reach, at, floor], [reach, at, floor]]]) {
        const a = this.flat(from), b = this.flat(to);
        context.moveTo(a[0], a[1]);
        context.lineTo(b[0], b[1]);
      }
    }
    context.stroke();
  }

  // Where the ends of limbs came from.
  trails(frame, body, points) {
    const { context, clip } = this;
    const from = Math.max(0, frame - Math.ceil(TRAIL / clip.every));
    context.lineWidth = 1.5;
    for (const [joint, kind] of ends) {
      if (clip.drop.has(joint)) continue;
      context.strokeStyle = palette[colours[kind]];
      let before = this.flat(this.point(from, 0, body, joint));
      for (let at = from; at <= frame; at++) {
        const after = this.flat(at < frame ? this.point(at + 1, 0, body, joint) : points[joint]);
        context.globalAlpha = (0.45 * (at - from + 1)) / (frame - from + 1);
        context.beginPath();
        context.moveTo(before[0], before[1]);
        context.lineTo(after[0], after[1]);
        context.stroke();
        before = after;
      }
    }
    context.globalAlpha = 1;
  }

  line(a, b, colour, thick, alpha) {
    const { context } = this;
    context.strokeStyle = colour;
    context.globalAlpha = alpha;
    context.lineWidth = Math.max(1.5, (thick * (a[3] + b[3])) / 2);
    context.beginPath();
    context.moveTo(a[0], a[1]);
    context.lineTo(b[0], b[1]);
    context.stroke();
    context.globalAlpha = 1;
  }

  ball(at, colour, alpha) {
    const { context } = this;
    context.fillStyle = colour;
    context.globalAlpha = alpha;
    context.beginPath();
    context.arc(at[0], at[1], Math.max(3, 1.8 * THICK * at[3]), 0, 7);
    context.fill();
    context.globalAlpha = 1;
  }
}

const figures = [];
const watch = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const figure = figures.find((f) => f.canvas === entry.target);
    if (figure) Object.assign(figure, { shown: entry.isIntersecting, stale: true });
  }
}, { rootMargin: "80px" });

function add(canvas, clip) {
  const figure = new Figure(canvas, clip);
  figures.push(figure);
  watch.observe(canvas);
  return figure;
}

// Every canvas that names a place in the data: "gallery/3/0".
for (const canvas of document.querySelectorAll("canvas[data-clip]")) {
  add(canvas, canvas.dataset.clip.split("/").reduce((at, key) => at[key], data));
}

const stage = document.querySelector(".stage .views");
const choice = document.getElementById("choice");
const scrub = document.getElementById("scrub");
const counter = document.getElementById("counter");
const play = document.getElementById("play");
let onStage = [];

function choose(number) {
  const shown = data.gallery[number];
  for (const figure of onStage) {
    watch.unobserve(figure.canvas);
    figures.splice(figures.indexOf(figure), 1);
  }
  stage.replaceChildren();
  onStage = shown.clips.map((clip) => {
    const box = document.createElement("figure"), caption = document.createElement("figcaption"), canvas = document.createElement("canvas");
    caption.textContent = `${shown.title} · ${clip.name}`;
    box.append(caption, canvas);
    stage.append(box);
    return add(canvas, clip);
  });
  const loop = Math.max(...shown.clips.map((clip) => clip.total)); // cameras of one performance stay in step
  for (const figure of onStage) figure.loop = loop;
  scrub.max = loop - 1;
  clock.time = 0;
  choice.value = number;
  document.querySelectorAll(".gallery figure").forEach((card, index) => card.classList.toggle("chosen", index === number));
}

if (stage) {
  data.gallery.forEach((shown, number) => choice.add(new Option(`${shown.title} (${shown.key})`, number)));
  choice.addEventListener("change", () => choose(+choice.value));
  play.addEventListener("click", () => (clock.playing = !clock.playing));
  document.getElementById("speed").addEventListener("change", (event) => (clock.speed = +event.target.value));
  scrub.addEventListener("input", () => {
    clock.playing = false;
    clock.time = scrub.value / pace;
    figures.forEach((figure) => (figure.stale = true));
  });
  addEventListener("keydown", (event) => {
    if (event.key === " " && event.target === document.body) { event.preventDefault(); clock.playing = !clock.playing; }
  });
  document.querySelectorAll(".gallery figure").forEach((card, number) => card.addEventListener("click", () => {
    choose(number);
    document.querySelector(".stage").scrollIntoView({ block: "nearest" });
  }));
  choose(0);
}

const toggles = document.querySelectorAll("button.toggle");
for (const button of toggles) button.addEventListener("click", () => (clock.playing = !clock.playing));

// Paper shows all figures, as they stand now, and nothing on it can be unfolded.
addEventListener("beforeprint", () => {
  document.querySelectorAll("details.printed").forEach((details) => (details.open = true));
  figures.forEach((figure) => figure.draw());
});

function tick(now) {
  const passed = Math.min((now - clock.last) / 1000, 0.1);
  clock.last = now;
  if (clock.playing) clock.time += passed * clock.speed;
  for (const figure of figures) {
    const moves = figure.shown && clock.playing;
    if (moves || figure.stale || figure.width !== figure.canvas.clientWidth) {
      figure.stale = false;
      figure.draw();
    }
  }
  for (const button of toggles) {
    if (button.classList.toggle("on", clock.playing) !== (button.textContent === "Pause")) button.textContent = clock.playing ? "Pause" : "Play";
  }
  if (onStage.length) {
    const { loop } = onStage[0];
    const frame = Math.min(Math.floor((clock.time * pace) % (loop - 1 + REST)), loop - 1);
    if (clock.playing) scrub.value = frame;
    counter.textContent = `frame ${frame + 1} of ${loop}`;
    play.textContent = clock.playing ? "Pause" : "Play";
  }
  requestAnimationFrame(tick);
}
requestAnimationFrame(tick);

"use strict";
// On a first visit no mode is chosen; the theme's own script, which runs later, would report an error.
document.documentElement.dataset.mode ||= "auto";

// Pieces that a reader moves (ddllib/figures/interactive.py). Each is a picture without this script.
(() => {
  // Show picture `index` of a sheet, of which the box shows one at a time.
  const place = (box, index, count) => {
    const columns = Number(box.dataset.columns);
    const rows = Math.ceil(count / columns);
    const image = box.querySelector("img");
    image.style.width = `${100 * columns}%`;
    image.style.height = `${100 * rows}%`;
    image.style.left = `${-100 * (index % columns)}%`;
    image.style.top = `${-100 * Math.floor(index / columns)}%`;
  };

  const makeSlider = (piece) => {
    const [box, input, output] = ["div", "input", "output"].map((name) => piece.querySelector(name));
    const labels = JSON.parse(piece.dataset.labels);
    const show = () => {
      place(box, Number(input.value), labels.length);
      output.textContent = labels[input.value];
      input.setAttribute("aria-valuetext", labels[input.value]);
    };
    input.addEventListener("input", show);
    piece.classList.add("ddl-live");
    show();
  };

  // The events of one clip, as find_events of ddllib/camera/events.py finds them.
  const eventsOf = (scores, threshold, release, least) => {
    const events = [];
    let start = null;
    const end = (stop) => {
      if (start !== null && stop - start >= least) events.push([start, stop]);
      start = null;
    };
    scores.forEach((score, k) => {
      if (start === null && score > threshold) start = k;
      else if (start !== null && score < release) end(k);
    });
    end(scores.length);
    return events;
  };

  const stretchesOf = (labels) => {
    const stretches = [];
    labels.forEach((label, k) => {
      if (label && !labels[k - 1]) stretches.push([k, k + 1]);
      else if (label) stretches[stretches.length - 1][1] = k + 1;
    });
    return stretches;
  };

  const countsOf = (story, threshold) => {
    const release = story.quiet + story.release_share * (threshold - story.quiet);
    let [hits, abnormal, wrong] = [0, 0, 0];
    for (const { scores, labels } of story.clips) {
      const events = eventsOf(scores, threshold, release, story.least);
      const stretches = stretchesOf(labels);
      abnormal += stretches.length;
      hits += stretches.filter(([a, b]) => events.some(([c, d]) => c < b && a < d)).length;
      wrong += events.filter(([a, b]) => !labels.slice(a, b).some(Boolean)).length;
    }
    return [hits, abnormal, wrong];
  };

  const makeTimeline = (piece) => {
    const story = JSON.parse(piece.dataset.story);
    const boxes = [...piece.querySelectorAll(".ddl-sheet")];
    const find = (name) => piece.querySelector(name);
    const [chart, cursor, level, told] = ["svg", ".ddl-cursor", ".ddl-level", ".ddl-told"].map(find);
    const [frame, slider, button] = [".ddl-frame", ".ddl-threshold", "button"].map(find);
    const count = story.clips.reduce((sum, clip) => sum + clip.scores.length, 0);
    const scores = story.clips.flatMap((clip) => clip.scores);
    let shown = null; // the clip whose sheets are loaded

    const clipOf = (index) => {
      for (const clip of story.clips) {
        if (index < clip.scores.length) return [clip, index];
        index -= clip.scores.length;
      }
      return null;
    };
    const move = (index) => {
      const [clip, within] = clipOf(index);
      boxes.forEach((box, kind) => {
        const image = box.querySelector("img");
        if (clip !== shown) {
          image.src = clip.sheets[kind];
          image.alt = `${box.dataset.kind} of clip ${clip.name}`;
        }
        place(box, within, clip.scores.length);
      });
      shown = clip;
      frame.value = index;
      frame.setAttribute("aria-valuetext", `clip ${clip.name}, frame ${within}`);
      const x = ((index + 0.5) * story.width) / count;
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
    };
    const heightOf = (score) =>
      story.top + ((story.height - story.top) * (story.high - score)) / (story.high - story.low);
    const setLevel = (threshold) => {
      level.setAttribute("y1", heightOf(threshold));
      level.setAttribute("y2", heightOf(threshold));
      const [hits, abnormal, wrong] = countsOf(story, threshold);
      told.textContent =
        `threshold ${threshold.toFixed(4)}: ${hits} of ${abnormal} abnormal stretches raise an ` +
        `alarm, ${wrong} false alarm${wrong === 1 ? "" : "s"}`;
      slider.setAttribute("aria-valuetext", told.textContent);
    };
    const scoreOf = (value) => story.low + (value / slider.max) * (story.high - story.low);
    const valueOf = (score) => ((score - story.low) / (story.high - story.low)) * slider.max;

    // A finger or a mouse on the chart: near the threshold's line it moves the line, else the frame.
    let grip = null;
    const follow = (event) => {
      const area = chart.getBoundingClientRect();
      const x = (event.clientX - area.left) / area.width;
      const y = ((event.clientY - area.top) / area.height) * story.height;
      const share = (story.high - story.low) / (story.height - story.top);
      if (event.type === "pointerdown") {
        const distance = Math.abs(y - Number(level.getAttribute("y1")));
        grip = (distance * area.height) / story.height < 12 ? "level" : "frame";
        chart.setPointerCapture(event.pointerId);
      }
      if (grip === "level") {
        const score = story.high - (y - story.top) * share;
        const inside = Math.min(Math.max(score, story.low), story.high);
        slider.value = valueOf(inside);
        setLevel(inside);
      } else if (grip || event.pointerType === "mouse") {
        move(Math.min(Math.max(Math.floor(x * count), 0), count - 1));
      }
    };
    for (const name of ["pointerdown", "pointermove"]) chart.addEventListener(name, follow);
    for (const name of ["pointerup", "pointercancel"]) {
      chart.addEventListener(name, () => { grip = null; });
    }
    let timer = null;
    const stop = () => {
      clearInterval(timer);
      timer = null;
      button.textContent = "play";
    };
    button.addEventListener("click", () => {
      if (timer) return stop();
      timer = setInterval(() => move((Number(frame.value) + 1) % count), 100);
      button.textContent = "stop";
    });
    frame.addEventListener("input", () => move(Number(frame.value)));
    slider.addEventListener("input", () => setLevel(scoreOf(Number(slider.value))));

    piece.classList.add("ddl-live");
    slider.value = valueOf(story.threshold);
    setLevel(story.threshold);
    move(scores.indexOf(Math.max(...scores)));
  };

  const begin = () => {
    document.querySelectorAll(".ddl-slider").forEach(makeSlider);
    document.querySelectorAll(".ddl-timeline").forEach(makeTimeline);
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();

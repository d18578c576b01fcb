// The review panel: one key, one decision. Plain JavaScript on three of the App's globals (React, registerComponent,
// getSampleSrc); it talks to our own operators and draws itself.
(function () {
  const OPERATORS = "@candid/review/";
  const AHEAD = 8; // images loaded in advance
  const SMALL_PIXELS = 128; // up to this side an image is enlarged in whole pixels
  const LONGEST_SECONDS = 60; // a longer pause between two keys is a break, not thinking

  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const percent = (share) => `${Math.round(100 * share)} %`;
  const newToken = () => `k${Math.random().toString(36).slice(2, 10)}${Date.now().toString(36)}`;

  function make(tag, classes, ...children) {
    const node = document.createElement(tag);
    node.className = classes;
    node.append(...children);
    return node;
  }

  function sourceOf(file) {
    const { getSampleSrc } = window.__fos__ || {};
    return getSampleSrc ? getSampleSrc(file) : `/media?filepath=${encodeURIComponent(file)}`;
  }

  async function call(name, params) {
    const body = { operator_uri: OPERATORS + name, params, dataset_name: "relabel" };
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch("/operators/execute", { method: "POST", headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    const { result, error, error_message: message } = await answer.json();
    if (error || !result) throw new Error(message || String(error).trim().split("\n").pop());
    return result;
  }

  async function insist(name, params, tell) {
    for (let wait = 200; ; wait = Math.min(2 * wait, 2000)) {
      try {
        return await call(name, params);
      } catch (error) {
        tell(error.message);
        await pause(wait);
      }
    }
  }

  const pathsOf = (job) => (job.wishes || job.of.wishes || []).map(({ path }) => path);

  // What is decided, what is on its way, and where we are. Knows nothing of the page.
  class Review {
    constructor(session, changed) {
      Object.assign(this, { changed, rows: session.queue, images: session.images, classes: session.classes, session });
      this.known = session.states; // as the server last said
      this.shown = { ...session.states }; // with the keys that are on their way
      this.jobs = [];
      this.history = session.undoable.map((batch) => ({ batch }));
      this.refused = [];
      this.trouble = "";
      this.times = [];
      this.notice = "";
      this.isFinished = false;
      this.index = Math.max(0, this.nextOpen(0));
    }

    get row() { return this.rows[this.index]; }
    get done() { return this.rows.filter((row) => this.shown[row.path].is_done).length; }
    nextOpen(from) {
      for (let step = 0; step < this.rows.length; step++) {
        const index = (from + step) % this.rows.length;
        if (!this.shown[this.rows[index].path].is_done) return index;
      }
      return -1;
    }

    get secondsLeft() {
      const gaps = this.times.slice(1).map((time, k) => time - this.times[k]).filter((s) => s < LONGEST_SECONDS).sort((a, b) => a - b);
      return gaps.length < 3 ? null : gaps[gaps.length >> 1] * (this.rows.length - this.done);
    }

    // The images that one key decides: with Shift the copies too. A redundant copy follows its original by itself, unless
    // the original is dropped.
    pathsFor(action, isForAll) {
      const copies = isForAll ? this.row.copies : [];
      return [this.row.path, ...copies.filter((path) => action === "drop" || !this.images[path].is_redundant)];
    }

    decide(action, label, isForAll) {
      if (this.isFinished) return;
      const wishes = this.pathsFor(action, isForAll).map((path) =>
        action === "relabel" && label === this.images[path].given_label ? { path, action: "keep", label: "" } : { path, action, label });
      const job = { kind: "decide", token: newToken(), wishes, index: this.index, before: wishes.map(({ path }) => this.shown[path]) };
      for (const wish of wishes) {
        const now = wish.action === "relabel" ? wish.label : this.images[wish.path].given_label;
        this.shown[wish.path] = { label: now, action: wish.action, by: this.session.by, batch: `${this.session.batch}.${job.token}`, is_done: true };
      }
      this.history.push(job);
      this.times = [...this.times.slice(-20), Date.now() / 1000];
      this.notice = "";
      const next = this.nextOpen(this.index + 1);
      this.index = next < 0 ? Math.min(this.index + 1, this.rows.length - 1) : next;
      this.send(job);
    }

    undo() {
      const last = this.history.pop();
      if (!last || this.isFinished) return void this.say("Nothing to undo");
      const batch = last.batch || `${this.session.batch}.${last.token}`;
      const index = last.index ?? this.rows.findIndex((row) => this.shown[row.path].batch === batch);
      if (index >= 0) this.index = index;
      if (last.wishes) last.wishes.forEach(({ path }, k) => (this.shown[path] = last.before[k]));
      this.notice = "Taken back";
      this.send({ kind: "undo", token: newToken(), batch, of: last });
    }

    move(step) {
      this.index = Math.min(Math.max(this.index + step, 0), this.rows.length - 1);
      this.notice = "";
      this.changed();
    }

    say(notice) { this.notice = notice; this.changed(); }

    send(job) {
      this.jobs.push(job);
      this.changed();
      if (this.jobs.length === 1) this.work();
    }

    // In order, one at a time; each key compares with what the server said last about its images.
    async work() {
      while (this.jobs.length) {
        const job = this.jobs[0];
        const tell = (trouble) => { this.trouble = trouble; this.changed(); };
        const answer = job.kind === "decide" ? await insist("review_decide", { token: job.token, wishes: this.expecting(job) }, tell)
          : await insist("review_undo", { token: job.token, batch: job.batch }, tell);
        this.trouble = "";
        this.jobs.shift();
        this.settle(job, answer);
        this.changed();
      }
    }

    expecting(job) {
      return job.wishes.map((wish) => ({ ...wish, expected: this.known[wish.path].label, seen: this.known[wish.path].batch }));
    }

    settle(job, answer) {
      Object.assign(this.known, answer.states);
      let over = [job];
      if (answer.refused.length) {
        this.refused.push({ job, answer });
        const lost = new Set(answer.refused); // keys on their way about the same image were typed in front of the old label
        over = [job, ...this.jobs.filter((later) => later.of === job || later.wishes?.some(({ path }) => lost.has(path)))];
        const gone = over.filter((made) => made !== job || lost.size === pathsOf(job).length); // a part that holds can be undone
        this.history = this.history.filter((made) => !gone.includes(made));
        this.jobs = this.jobs.filter((later) => !over.includes(later));
      }
      const onTheirWay = new Set(this.jobs.flatMap(pathsOf));
      for (const path of [...over.flatMap(pathsOf), ...Object.keys(answer.states)]) if (!onTheirWay.has(path)) this.shown[path] = this.known[path];
    }

    lookAgain() {
      const { job, answer } = this.refused.shift();
      const path = answer.refused[0];
      const index = this.rows.findIndex((row) => row.path === path);
      this.index = index >= 0 ? index : job.index ?? this.index;
      this.changed();
    }

    async finish() {
      if (this.jobs.length) return void this.say("Still saving: try again in a moment");
      await insist("review_finish", {}, (trouble) => { this.trouble = trouble; this.changed(); });
      this.isFinished = true;
      this.changed();
    }
  }

  // The page: built once, then only its contents change.
  class Page {
    constructor(root, session) {
      this.review = new Review(session, () => this.draw());
      this.isSmooth = localStorage.getItem("candid-smooth") === "true";
      this.ahead = new Map();
      this.build(root);
      this.draw();
    }

    build(root) {
      const part = (name, classes = "") => (this[name] = make("div", `c-${name} ${classes}`));
      const button = (key, text, act) => {
        const node = make("button", "c-button", make("kbd", "", key), text);
        node.dataset.candid = `key-${text.toLowerCase().replace(/\W+/g, "-")}`;
        node.onclick = (event) => { act(event.shiftKey); node.blur(); };
        return node;
      };
      this.picture = make("img", "c-picture");
      this.picture.onload = () => this.fit();
      this.picture.onerror = () => this.frame.classList.add("is-missing");
      const frame = part("frame");
      frame.append(this.picture, make("div", "c-missing", make("b", "", "Image missing"), make("span", "", "decide without it, or go on with the arrow")));
      this.finishButton = button("", "Finish", () => this.review.finish());
      this.keys = make("div", "c-keys",
        (this.acceptButton = button("A", "Accept", (all) => this.press("a", all))), button("K", "Keep", (all) => this.press("k", all)),
        button("D", "Drop", (all) => this.press("d", all)), button("U", "Unsure", (all) => this.press("u", all)),
        button("Z", "Undo", () => this.press("z")), button("?", "Help", () => this.press("?")));
      const head = make("div", "c-head", part("count"), make("div", "c-track", part("bar")), part("remaining"), part("saved"), this.finishButton);
      const left = make("div", "c-left", frame, part("name"));
      const right = make("div", "c-right", part("labels"), part("classes"), part("opinions"), this.keys, part("notice"));
      root.replaceChildren(make("div", "c-body", head, part("refused"), make("div", "c-main", left, right), part("copies"), part("help", "is-hidden"), part("end", "is-hidden")));
      for (const name of ["count", "saved", "labels", "classes", "frame", "name", "copies", "refused", "notice", "help", "end", "remaining"]) this[name].dataset.candid = name;
      this.end.append(make("b", "", "Finished"), make("span", "", "Every decision is in the journal. You can close this tab."));
      this.help.append(make("table", "", ...HELP.map(([key, text]) => make("tr", "", make("td", "", make("kbd", "", key)), make("td", "", text)))));
    }

    press(key, isForAll = false) {
      const review = this.review;
      const suggestion = review.row.suggested_label;
      const digit = Number(key);
      if (key === "?" || key === "escape") this.help.classList.toggle("is-hidden", key === "escape" ? true : undefined);
      else if (key === "a" && suggestion) review.decide("relabel", suggestion, isForAll);
      else if (key === "a") review.say(review.session.blind ? "No suggestion in a blind review" : "No suggestion for this image: K keeps its label");
      else if (key === "k") review.decide("keep", "", isForAll);
      else if (key === "d") review.decide("drop", "", isForAll);
      else if (key === "u") review.decide("unsure", "", isForAll);
      else if (key === "z") review.undo();
      else if (key === "g" && review.refused.length) review.lookAgain();
      else if (key === "s") this.smooth();
      else if (key === "arrowleft" || key === "arrowup") review.move(-1);
      else if (key === "arrowright" || key === "arrowdown") review.move(1);
      else if (digit >= 1 && digit <= review.classes.length) review.decide("relabel", review.classes[digit - 1], isForAll);
      else return false;
      return true;
    }

    smooth() {
      this.isSmooth = !this.isSmooth;
      localStorage.setItem("candid-smooth", this.isSmooth);
      this.fit();
    }

    draw() {
      const { review } = this;
      const { row } = review;
      const state = review.shown[row.path];
      const total = review.rows.length;
      this.frame.parentElement.parentElement.dataset.path = row.path;
      this.count.textContent = `${review.done} of ${total}`;
      this.bar.style.width = `${(100 * review.done) / total}%`;
      this.remaining.textContent = this.timeLeft();
      this.saved.textContent = review.trouble ? `not saved: ${review.jobs.length}, trying again` : review.jobs.length ? `saving ${review.jobs.length}` : "all saved";
      this.saved.className = `c-saved ${review.trouble ? "is-bad" : review.jobs.length ? "is-busy" : "is-good"}`;
      this.notice.textContent = review.trouble ? `The server answers: ${review.trouble}` : review.notice || (review.done === total ? "All decided: press Finish, or go back with the arrow" : "");
      this.name.replaceChildren(make("b", "", `${review.index + 1}`), ` of ${total}   ${row.path}`);
      this.acceptButton.disabled = !row.suggested_label;
      this.show(row);
      this.drawLabels(row, state);
      this.drawClasses(row, state);
      this.drawCopies(row);
      this.drawRefused();
      this.end.classList.toggle("is-hidden", !review.isFinished);
    }

    timeLeft() {
      const seconds = this.review.secondsLeft;
      if (seconds === null || this.review.done === this.review.rows.length) return "";
      return seconds < 90 ? `${Math.ceil(seconds)} s left` : `${Math.round(seconds / 60)} min left`;
    }

    show(row) {
      const image = this.review.images[row.path];
      if (this.file !== image.file || this.box !== image.box) {
        [this.file, this.box] = [image.file, image.box];
        this.frame.classList.remove("is-missing");
        this.picture.src = sourceOf(image.file);
      }
      const next = this.review.rows.slice(this.review.index + 1, this.review.index + 1 + AHEAD).map(({ path }) => this.review.images[path].file);
      for (const file of this.ahead.keys()) if (!next.includes(file)) this.ahead.delete(file);
      for (const file of next) if (!this.ahead.has(file)) this.ahead.set(file, Object.assign(new Image(), { src: sourceOf(file) }));
    }

    fit() {
      fitBox(this.picture, this.box);
      const { naturalWidth: width, naturalHeight: height } = this.picture;
      const side = this.box ? Number(this.box.split(" ")[2]) : Math.max(width, height);
      this.frame.classList.toggle("is-crisp", side <= SMALL_PIXELS && !this.isSmooth);
    }

    drawLabels(row, state) {
      const share = (name) => (row.probs.length ? percent(row.probs[this.review.classes.indexOf(name)]) : "");
      const card = (title, name, share, classes) => make("div", `c-card ${classes}`, make("small", "", title), make("b", "", name), make("span", "", share));
      const cards = [card("given", row.given_label, share(row.given_label), "is-given")];
      if (row.suggested_label) cards.push(card("suggested", row.suggested_label, share(row.suggested_label), "is-suggested"));
      const words = { relabel: state.label, keep: `kept ${state.label}`, drop: "dropped", unsure: "unsure" };
      const isEdited = !state.action && state.label !== row.given_label;
      const verdict = state.action ? words[state.action] : isEdited ? state.label : "open";
      cards.push(card(state.by && state.by !== this.review.session.by ? `decided by ${state.by}` : "decided", verdict, "", `is-verdict ${state.is_done ? "is-set" : ""} is-${state.action || "open"}`));
      this.labels.replaceChildren(...cards);
      this.opinions.replaceChildren(...Object.entries(row.verdicts).map(([by, verdict]) => make("span", "c-opinion", `${by}: `, make("b", "", verdict))));
    }

    drawClasses(row, state) {
      const votes = row.votes ? JSON.parse(row.votes) : {};
      this.classes.replaceChildren(...this.review.classes.map((name, k) => {
        const share = row.probs[k] ?? 0;
        const fill = make("i", "");
        fill.style.width = `${100 * share}%`;
        const marks = `${name === row.given_label ? "is-given " : ""}${name === row.suggested_label ? "is-suggested " : ""}${state.action !== "drop" && state.is_done && name === state.label ? "is-chosen" : ""}`;
        const node = make("button", `c-class ${marks}`, make("kbd", "", `${k + 1}`), make("span", "c-class-name", name), make("span", "c-likelihood", fill),
          make("span", "c-share", row.probs.length ? percent(share) : ""), make("span", "c-votes", votes[name] ? `${votes[name]} votes` : ""));
        node.dataset.candid = `class-${name}`;
        node.onclick = (event) => { this.press(`${k + 1}`, event.shiftKey); node.blur(); };
        return node;
      }));
    }

    drawCopies(row) {
      this.copies.classList.toggle("is-hidden", !row.copies.length);
      const figures = row.copies.map((path) => {
        const image = this.review.images[path];
        const state = this.review.shown[path];
        const picture = Object.assign(make("img", "is-crisp"), { src: sourceOf(image.file), title: path });
        picture.onload = () => fitBox(picture, image.box);
        picture.onerror = () => picture.parentElement.classList.add("is-missing");
        const label = state.action === "drop" ? "dropped" : state.label;
        return make("figure", label === this.review.shown[row.path].label ? "" : "is-other", make("div", "c-thumb", picture), make("figcaption", "", label, image.is_redundant ? make("small", "", "copy") : ""));
      });
      this.copies.replaceChildren(make("p", "", make("b", "", `${row.copies.length} ${row.copies.length > 1 ? "copies" : "copy"} of this photograph`), make("span", "", make("kbd", "", "Shift"), "+ key decides all of them")), make("div", "c-figures", ...figures));
    }

    drawRefused() {
      const { refused, images } = this.review;
      this.refused.classList.toggle("is-hidden", !refused.length);
      if (!refused.length) return void this.refused.replaceChildren();
      const { answer } = refused[0];
      const path = answer.refused[0];
      const state = answer.states[path];
      const what = !state ? "A key could not be taken back: something newer stands" : `Not saved: somebody else changed ${path} meanwhile (now ${state.action === "drop" ? "dropped" : state.label}${state.by ? `, by ${state.by}` : ""})`;
      const look = make("button", "c-button", make("kbd", "", "G"), images[path] ? "Look again" : "Go on");
      look.onclick = () => this.review.lookAgain();
      this.refused.replaceChildren(make("span", "", what, refused.length > 1 ? ` and ${refused.length - 1} more` : ""), look);
    }
  }

  const HELP = [
    ["A", "accept the suggestion"], ["K", "keep the given label"], ["1 – 8", "set the label, in the order of the list"], ["D", "drop: of no use under any label"],
    ["U", "unsure: looked at, no verdict"], ["Z", "undo your last decision"], ["← →", "look without deciding"], ["Shift", "with A, K, 1 – 8, D, U: decide all copies of the photograph"],
    ["S", "smooth or crisp pixels"], ["G", "go to what was refused"], ["?", "this list"],
  ];

  // Show the face of a picture that holds several: the box fills the square.
  function fitBox(picture, box) {
    if (!box) return void (picture.style.cssText = "");
    const [x, y, width, height] = box.split(" ").map(Number);
    const scale = 100 / Math.max(width, height);
    picture.style.cssText = `position:absolute;object-fit:fill;max-width:none;max-height:none;width:${picture.naturalWidth * scale}%;height:${picture.naturalHeight * scale}%;left:${-x * scale + (100 - width * scale) / 2}%;top:${-y * scale + (100 - height * scale) / 2}%`;
  }

  function isTyping(target) {
    const inside = (selector) => document.querySelector(selector);
    return target.closest?.("input, textarea, select, [contenteditable='true']") || inside("[data-cy=modal], [role=dialog], [data-cy=operators-browser]");
  }

  function nameOf(event) {
    const digit = /^Digit([1-9])$/.exec(event.code || "") || /^([1-9])$/.exec(event.key); // a numpad without NumLock has arrows
    if (event.key === "?") return "?";
    return digit ? digit[1] : event.key.toLowerCase(); // digits by place (some keyboards shift them), letters by print
  }

  function Panel() {
    const { createElement, useEffect, useRef } = window.React;
    const root = useRef(null);
    useEffect(() => {
      let page = null;
      let isGone = false;
      const listen = (event) => {
        if (!page || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
        if (event.repeat && !event.key.startsWith("Arrow")) return void event.stopPropagation(); // a held key decides once
        if (page.press(nameOf(event), event.shiftKey && event.key !== "?")) {
          event.preventDefault();
          event.stopPropagation(); // the App has keys of its own
        }
      };
      const warn = (event) => { if (page?.review.jobs.length) event.preventDefault(); };
      insist("review_queue", {}, (trouble) => { if (root.current) root.current.textContent = `Loading: ${trouble}`; }).then((session) => {
        if (!isGone) page = new Page(root.current, session);
      });
      window.addEventListener("keydown", listen, true);
      window.addEventListener("beforeunload", warn);
      return () => {
        isGone = true;
        window.removeEventListener("keydown", listen, true);
        window.removeEventListener("beforeunload", warn);
        if (page?.review.times.length) window.__foo__?.executeOperator?.("reload_dataset"); // the grid shows what was decided
      };
    }, []);
    return createElement("div", { ref: root, className: "candid-review", "data-candid": "panel" }, "Loading the queue …");
  }

  const sheet = Object.assign(document.createElement("link"), { rel: "stylesheet", href: "/plugins/review/panel.css" });
  document.head.append(sheet);
  const { registerComponent, PluginComponentType } = window.__fop__;
  registerComponent({ name: "CandidReview", label: "Review", component: Panel, type: PluginComponentType.Panel, activator: () => true, panelOptions: { surfaces: "grid" } });
})();

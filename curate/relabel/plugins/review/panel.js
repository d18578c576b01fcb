// The review panel: one key, one decision. Plain JavaScript on three of the App's globals (React,
// registerComponent, getSampleSrc). It calls the operators of our plugin and draws itself.
(function () {
  const OPERATORS = "@candid/review/";
  const PRELOADED = 8; // images loaded in advance
  const SMALL_PIXELS = 128; // up to this side an image is enlarged in whole pixels
  const LONGEST_SECONDS = 60; // a longer pause between two keys is a break, not thinking
  const FIRST_WAIT_MS = 200; // before a request is sent again; it doubles
  const LONGEST_WAIT_MS = 2000;

  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const percent = (share) => `${Math.round(100 * share)} %`;
  const newToken = () => `k${Math.random().toString(36).slice(2, 10)}${Date.now().toString(36)}`;

  function make(tag, classes, ...children) {
    const node = document.createElement(tag);
    node.className = classes;
    node.append(...children);
    return node;
  }

  function urlOf(file) {
    const { getSampleSrc } = window.__fos__ || {};
    return getSampleSrc ? getSampleSrc(file) : `/media?filepath=${encodeURIComponent(file)}`;
  }

  async function call(name, params) {
    const request = { operator_uri: OPERATORS + name, params, dataset_name: "relabel" };
    const headers = { "Content-Type": "application/json" };
    const body = JSON.stringify(request);
    const answer = await fetch("/operators/execute", { method: "POST", headers, body });
    if (answer.status === 403) throw new Error((await answer.text()).trim());
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    const { result, error, error_message: message } = await answer.json();
    if (error || !result) throw new Error(message || String(error).trim().split("\n").pop());
    return result;
  }

  // Send until there is an answer; `report` gets the message of each error.
  async function callUntilAnswered(name, params, report) {
    for (let wait = FIRST_WAIT_MS; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
      try {
        return await call(name, params);
      } catch (error) {
        report(error.message);
        await pause(wait);
      }
    }
  }

  // A job is one key: { kind: "decide", token, requests, index, before } with an entry of `before`,
  // the earlier state, for each request; or { kind: "undo", token, batch, of } with the job or
  // { batch } that it undoes.
  const pathsOf = (job) => (job.requests || job.of.requests || []).map(({ path }) => path);

  // The decisions, the jobs that wait for an answer, and the current image; no part of the page.
  class Review {
    constructor(session, onChange) {
      this.session = session;
      this.onChange = onChange;
      this.rows = session.queue;
      this.images = session.images;
      this.classes = session.classes;
      this.saved = session.states; // path -> state, as the server last answered
      this.shown = { ...session.states }; // path -> state, with the jobs that wait
      this.jobs = [];
      this.history = session.undoable.map((batch) => ({ batch }));
      this.refused = [];
      this.trouble = "";
      this.times = [];
      this.notice = "";
      this.isFinished = false;
      this.index = Math.max(0, this.nextUndecided(0));
    }

    get row() { return this.rows[this.index]; }
    get decidedCount() { return this.rows.filter((row) => this.shown[row.path].is_done).length; }

    // The first undecided index from `start` on, round the end; -1 if all are decided.
    nextUndecided(start) {
      for (let step = 0; step < this.rows.length; step++) {
        const index = (start + step) % this.rows.length;
        if (!this.shown[this.rows[index].path].is_done) return index;
      }
      return -1;
    }

    // The median pause between keys times the undecided images; null before the third pause.
    get secondsLeft() {
      const pauses = this.times.slice(1).map((time, k) => time - this.times[k]);
      const sorted = pauses.filter((seconds) => seconds < LONGEST_SECONDS).sort((a, b) => a - b);
      if (sorted.length < 3) return null;
      return sorted[sorted.length >> 1] * (this.rows.length - this.decidedCount);
    }

    // The images that one key decides: with Shift the copies too. A redundant copy follows its
    // original by itself, unless the original is dropped.
    pathsFor(action, isForAll) {
      const needsKey = (path) => action === "drop" || !this.images[path].is_redundant;
      const copies = isForAll ? this.row.copies.filter(needsKey) : [];
      return [this.row.path, ...copies];
    }

    // Setting the given label is a keep.
    newRequest(path, action, label) {
      const isKeep = action === "relabel" && label === this.images[path].given_label;
      return isKeep ? { path, action: "keep", label: "" } : { path, action, label };
    }

    decide(action, label, isForAll) {
      if (this.isFinished) return;
      const paths = this.pathsFor(action, isForAll);
      const requests = paths.map((path) => this.newRequest(path, action, label));
      const before = paths.map((path) => this.shown[path]);
      const job = { kind: "decide", token: newToken(), requests, index: this.index, before };
      const batch = `${this.session.batch}.${job.token}`;
      for (const request of requests) {
        const given = this.images[request.path].given_label;
        const newLabel = request.action === "relabel" ? request.label : given;
        const { by } = this.session;
        const state = { label: newLabel, action: request.action, by, batch, is_done: true };
        this.shown[request.path] = state;
      }
      this.history.push(job);
      this.times = [...this.times.slice(-20), Date.now() / 1000];
      this.notice = "";
      const next = this.nextUndecided(this.index + 1);
      this.index = next < 0 ? Math.min(this.index + 1, this.rows.length - 1) : next;
      this.send(job);
    }

    undo() {
      const last = this.history.pop();
      if (!last || this.isFinished) return void this.notify("Nothing to undo");
      const batch = last.batch || `${this.session.batch}.${last.token}`;
      const isOfBatch = (row) => this.shown[row.path].batch === batch;
      const index = last.index ?? this.rows.findIndex(isOfBatch);
      if (index >= 0) this.index = index;
      if (last.requests) {
        last.requests.forEach(({ path }, k) => { this.shown[path] = last.before[k]; });
      }
      this.notice = "Taken back";
      this.send({ kind: "undo", token: newToken(), batch, of: last });
    }

    move(step) {
      this.index = Math.min(Math.max(this.index + step, 0), this.rows.length - 1);
      this.notice = "";
      this.onChange();
    }

    notify(notice) {
      this.notice = notice;
      this.onChange();
    }

    reportTrouble(trouble) {
      this.trouble = trouble;
      this.onChange();
    }

    send(job) {
      this.jobs.push(job);
      this.onChange();
      if (this.jobs.length === 1) this.sendAll();
    }

    // In order, one at a time: each request names the last state that the server answered.
    async sendAll() {
      const report = (trouble) => this.reportTrouble(trouble);
      while (this.jobs.length) {
        const job = this.jobs[0];
        const [name, params] = job.kind === "decide"
          ? ["review_decide", { token: job.token, requests: this.withExpected(job.requests) }]
          : ["review_undo", { token: job.token, batch: job.batch }];
        const answer = await callUntilAnswered(name, params, report);
        this.trouble = "";
        this.jobs.shift();
        this.applyAnswer(job, answer);
        this.onChange();
      }
    }

    withExpected(requests) {
      return requests.map((request) => {
        const { label, batch } = this.saved[request.path];
        return { ...request, expected: label, seen: batch };
      });
    }

    applyAnswer(job, answer) {
      Object.assign(this.saved, answer.states);
      const ended = answer.refused.length ? this.rollBack(job, answer) : [job];
      const waiting = new Set(this.jobs.flatMap(pathsOf));
      const changed = [...ended.flatMap(pathsOf), ...Object.keys(answer.states)];
      for (const path of changed) if (!waiting.has(path)) this.shown[path] = this.saved[path];
    }

    // Drop a refused job and the later jobs about its refused images: their keys were pressed
    // before the old label. Returns all jobs that have ended.
    rollBack(job, answer) {
      this.refused.push({ job, answer });
      const refused = new Set(answer.refused);
      const isOutdated = (later) =>
        later.of === job || later.requests?.some(({ path }) => refused.has(path));
      const ended = [job, ...this.jobs.filter(isOutdated)];
      const isVoid = (made) => made !== job || refused.size === pathsOf(job).length;
      const voided = ended.filter(isVoid); // the saved part of a job can still be undone
      this.history = this.history.filter((made) => !voided.includes(made));
      this.jobs = this.jobs.filter((later) => !ended.includes(later));
      return ended;
    }

    goToRefused() {
      const { job, answer } = this.refused.shift();
      const index = this.rows.findIndex((row) => row.path === answer.refused[0]);
      this.index = index >= 0 ? index : job.index ?? this.index;
      this.onChange();
    }

    async finish() {
      if (this.jobs.length) return void this.notify("Still saving: try again in a moment");
      await callUntilAnswered("review_finish", {}, (trouble) => this.reportTrouble(trouble));
      this.isFinished = true;
      this.onChange();
    }
  }

  // A key has its line here, its meaning in `press`, and its button in `buildKeys`.
  const HELP = [
    ["A", "accept the suggestion"],
    ["K", "keep the given label"],
    ["1 – 8", "set the label, in the order of the list"],
    ["D", "drop: of no use under any label"],
    ["U", "unsure: looked at, no verdict"],
    ["Z", "undo your last decision"],
    ["← →", "look without deciding"],
    ["Shift", "with A, K, 1 – 8, D, U: decide all copies of the image"],
    ["S", "smooth or crisp pixels"],
    ["G", "go to what was refused"],
    ["?", "this list"],
  ];

  // The page: built once, then only its contents change.
  class Page {
    constructor(root, session) {
      this.review = new Review(session, () => this.draw());
      this.isSmooth = localStorage.getItem("candid-smooth") === "true";
      this.preloaded = new Map(); // file -> its image
      this.build(root);
      this.draw();
    }

    build(root) {
      const part = (name, classes = "") => {
        this[name] = make("div", `c-${name} ${classes}`);
        this[name].dataset.candid = name;
        return this[name];
      };
      const track = make("div", "c-track", part("bar"));
      this.finishButton = this.makeButton("", "Finish", () => this.review.finish());
      const head = make(
        "div", "c-head",
        part("count"), track, part("remaining"), part("saved"), this.finishButton,
      );
      part("frame").append(...this.buildPicture());
      const left = make("div", "c-left", this.frame, part("name"));
      const right = make(
        "div", "c-right",
        part("labels"), part("classes"), part("opinions"), this.buildKeys(), part("notice"),
      );
      const main = make("div", "c-main", left, right);
      const overlays = [part("help", "is-hidden"), part("end", "is-hidden")];
      const body = [head, part("refused"), main, part("copies"), ...overlays];
      root.replaceChildren(make("div", "c-body", ...body));
      const end = "Every decision is in the journal. You can close this tab.";
      this.end.append(make("b", "", "Finished"), make("span", "", end));
      const cell = (content) => make("td", "", content);
      const rows = HELP.map(([key, text]) =>
        make("tr", "", cell(make("kbd", "", key)), cell(text)));
      this.help.append(make("table", "", ...rows));
    }

    makeButton(key, text, act) {
      const node = make("button", "c-button", make("kbd", "", key), text);
      node.dataset.candid = `key-${text.toLowerCase().replace(/\W+/g, "-")}`;
      node.onclick = (event) => { act(event.shiftKey); node.blur(); };
      return node;
    }

    buildPicture() {
      this.picture = make("img", "c-picture");
      this.picture.onload = () => this.fit();
      this.picture.onerror = () => this.frame.classList.add("is-missing");
      const advice = make("span", "", "decide without it, or go on with the arrow");
      return [this.picture, make("div", "c-missing", make("b", "", "Image missing"), advice)];
    }

    buildKeys() {
      const button = (key, text) =>
        this.makeButton(key, text, (isForAll) => this.press(key.toLowerCase(), isForAll));
      this.acceptButton = button("A", "Accept");
      const others = [["K", "Keep"], ["D", "Drop"], ["U", "Unsure"], ["Z", "Undo"], ["?", "Help"]];
      const buttons = others.map(([key, text]) => button(key, text));
      return make("div", "c-keys", this.acceptButton, ...buttons);
    }

    // Do what a key means; returns false for a key without a meaning.
    press(key, isForAll = false) {
      const { review } = this;
      const digit = Number(key);
      if (key === "?") this.help.classList.toggle("is-hidden");
      else if (key === "escape") this.help.classList.add("is-hidden");
      else if (key === "a") this.accept(isForAll);
      else if (key === "k") review.decide("keep", "", isForAll);
      else if (key === "d") review.decide("drop", "", isForAll);
      else if (key === "u") review.decide("unsure", "", isForAll);
      else if (key === "z") review.undo();
      else if (key === "g" && review.refused.length) review.goToRefused();
      else if (key === "s") this.toggleSmooth();
      else if (key === "arrowleft" || key === "arrowup") review.move(-1);
      else if (key === "arrowright" || key === "arrowdown") review.move(1);
      else if (digit >= 1 && digit <= review.classes.length) {
        review.decide("relabel", review.classes[digit - 1], isForAll);
      } else return false;
      return true;
    }

    accept(isForAll) {
      const { review } = this;
      const suggestion = review.row.suggested_label;
      if (suggestion) review.decide("relabel", suggestion, isForAll);
      else if (review.session.blind) review.notify("No suggestion in a blind review");
      else review.notify("No suggestion for this image: K keeps its label");
    }

    toggleSmooth() {
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
      this.count.textContent = `${review.decidedCount} of ${total}`;
      this.bar.style.width = `${(100 * review.decidedCount) / total}%`;
      this.remaining.textContent = this.formatTimeLeft();
      this.name.replaceChildren(make("b", "", `${review.index + 1}`), ` of ${total}   ${row.path}`);
      this.acceptButton.disabled = !row.suggested_label;
      this.drawSaved();
      this.drawNotice();
      this.drawPicture(row);
      this.drawLabels(row, state);
      this.drawClasses(row, state);
      this.drawCopies(row);
      this.drawRefused();
      this.end.classList.toggle("is-hidden", !review.isFinished);
    }

    formatTimeLeft() {
      const { secondsLeft: seconds, decidedCount, rows } = this.review;
      if (seconds === null || decidedCount === rows.length) return "";
      return seconds < 90 ? `${Math.ceil(seconds)} s left` : `${Math.round(seconds / 60)} min left`;
    }

    drawSaved() {
      const { trouble, jobs } = this.review;
      let [text, mark] = ["all saved", "is-good"];
      if (jobs.length) [text, mark] = [`saving ${jobs.length}`, "is-busy"];
      if (trouble) [text, mark] = [`not saved: ${jobs.length}, trying again`, "is-bad"];
      this.saved.textContent = text;
      this.saved.className = `c-saved ${mark}`;
    }

    drawNotice() {
      const { trouble, notice, decidedCount, rows } = this.review;
      const isAllDecided = decidedCount === rows.length;
      const advice = isAllDecided ? "All decided: press Finish, or go back with the arrow" : "";
      this.notice.textContent = trouble ? `The server answers: ${trouble}` : notice || advice;
    }

    drawPicture(row) {
      const { rows, images, index } = this.review;
      const image = images[row.path];
      if (this.file !== image.file || this.box !== image.box) {
        [this.file, this.box] = [image.file, image.box];
        this.frame.classList.remove("is-missing");
        this.picture.src = urlOf(image.file);
      }
      const nextRows = rows.slice(index + 1, index + 1 + PRELOADED);
      const next = nextRows.map(({ path }) => images[path].file);
      for (const file of this.preloaded.keys()) {
        if (!next.includes(file)) this.preloaded.delete(file);
      }
      for (const file of next) {
        if (this.preloaded.has(file)) continue;
        this.preloaded.set(file, Object.assign(new Image(), { src: urlOf(file) }));
      }
    }

    fit() {
      fitBox(this.picture, this.box);
      const { naturalWidth: width, naturalHeight: height } = this.picture;
      const side = this.box ? Number(this.box.split(" ")[2]) : Math.max(width, height);
      this.frame.classList.toggle("is-crisp", side <= SMALL_PIXELS && !this.isSmooth);
    }

    drawLabels(row, state) {
      const { classes, session } = this.review;
      const card = (title, name, share, marks) => make(
        "div", `c-card ${marks}`,
        make("small", "", title), make("b", "", name), make("span", "", share),
      );
      const likelihood = (name) =>
        row.probs.length ? percent(row.probs[classes.indexOf(name)]) : "";
      const classCard = (title, name) => card(title, name, likelihood(name), `is-${title}`);
      const cards = [classCard("given", row.given_label)];
      if (row.suggested_label) cards.push(classCard("suggested", row.suggested_label));
      const isOthers = state.by && state.by !== session.by;
      const title = isOthers ? `decided by ${state.by}` : "decided";
      const marks = `is-verdict ${state.is_done ? "is-set" : ""} is-${state.action || "open"}`;
      cards.push(card(title, this.formatVerdict(row, state), "", marks));
      this.labels.replaceChildren(...cards);
      const opinions = Object.entries(row.verdicts).map(([by, verdict]) =>
        make("span", "c-opinion", `${by}: `, make("b", "", verdict)));
      this.opinions.replaceChildren(...opinions);
    }

    formatVerdict(row, state) {
      const { action, label } = state;
      const verdicts = { relabel: label, keep: `kept ${label}`, drop: "dropped", unsure: "unsure" };
      if (action) return verdicts[action];
      return label !== row.given_label ? label : "open"; // another label was set in the App itself
    }

    drawClasses(row, state) {
      const votes = row.votes ? JSON.parse(row.votes) : {};
      const isLabelled = state.action !== "drop" && state.is_done;
      const buttons = this.review.classes.map((name, k) => {
        const marks = ["c-class"];
        if (name === row.given_label) marks.push("is-given");
        if (name === row.suggested_label) marks.push("is-suggested");
        if (isLabelled && name === state.label) marks.push("is-chosen");
        const likelihood = row.probs[k] ?? 0;
        const fill = make("i", "");
        fill.style.width = `${100 * likelihood}%`;
        const node = make(
          "button", marks.join(" "),
          make("kbd", "", `${k + 1}`),
          make("span", "c-class-name", name),
          make("span", "c-likelihood", fill),
          make("span", "c-share", row.probs.length ? percent(likelihood) : ""),
          make("span", "c-votes", votes[name] ? `${votes[name]} votes` : ""),
        );
        node.dataset.candid = `class-${name}`;
        node.onclick = (event) => { this.press(`${k + 1}`, event.shiftKey); node.blur(); };
        return node;
      });
      this.classes.replaceChildren(...buttons);
    }

    drawCopies(row) {
      const count = row.copies.length;
      this.copies.classList.toggle("is-hidden", !count);
      const title = `${count} ${count > 1 ? "copies" : "copy"} of this image`;
      const advice = make("span", "", make("kbd", "", "Shift"), "+ key decides all of them");
      const label = this.review.shown[row.path].label;
      const figures = row.copies.map((path) => this.makeCopy(path, label));
      const head = make("p", "", make("b", "", title), advice);
      this.copies.replaceChildren(head, make("div", "c-figures", ...figures));
    }

    makeCopy(path, originalLabel) {
      const image = this.review.images[path];
      const state = this.review.shown[path];
      const facts = { src: urlOf(image.file), title: path };
      const picture = Object.assign(make("img", "is-crisp"), facts);
      picture.onload = () => fitBox(picture, image.box);
      picture.onerror = () => picture.parentElement.classList.add("is-missing");
      const label = state.action === "drop" ? "dropped" : state.label;
      const mark = image.is_redundant ? make("small", "", "copy") : "";
      const caption = make("figcaption", "", label, mark);
      const classes = label === originalLabel ? "" : "is-other";
      return make("figure", classes, make("div", "c-thumb", picture), caption);
    }

    drawRefused() {
      const { refused, images } = this.review;
      this.refused.classList.toggle("is-hidden", !refused.length);
      if (!refused.length) return void this.refused.replaceChildren();
      const { answer } = refused[0];
      const path = answer.refused[0];
      const others = refused.length > 1 ? ` and ${refused.length - 1} more` : "";
      const text = images[path] ? "Look again" : "Go on";
      const button = make("button", "c-button", make("kbd", "", "G"), text);
      button.onclick = () => this.review.goToRefused();
      const message = formatRefusal(path, answer.states[path]);
      this.refused.replaceChildren(make("span", "", message, others), button);
    }
  }

  function formatRefusal(path, state) {
    if (!state) return "A key could not be taken back: there is a newer decision";
    const label = state.action === "drop" ? "dropped" : state.label;
    const by = state.by ? `, by ${state.by}` : "";
    return `Not saved: somebody else changed ${path} meanwhile (now ${label}${by})`;
  }

  // Show the face of a picture that holds several: the box fills the square.
  function fitBox(picture, box) {
    if (!box) return void (picture.style.cssText = "");
    const [x, y, width, height] = box.split(" ").map(Number);
    const scale = 100 / Math.max(width, height);
    const styles = {
      position: "absolute",
      "object-fit": "fill",
      "max-width": "none",
      "max-height": "none",
      width: `${picture.naturalWidth * scale}%`,
      height: `${picture.naturalHeight * scale}%`,
      left: `${-x * scale + (100 - width * scale) / 2}%`,
      top: `${-y * scale + (100 - height * scale) / 2}%`,
    };
    const declarations = Object.entries(styles).map(([name, value]) => `${name}:${value}`);
    picture.style.cssText = declarations.join(";");
  }

  // Whether a text field or a dialog of the App has the keyboard.
  function isTyping(target) {
    const fields = "input, textarea, select, [contenteditable='true']";
    const dialogs = "[data-cy=modal], [role=dialog], [data-cy=operators-browser]";
    return target.closest?.(fields) || document.querySelector(dialogs);
  }

  // Digits by their place, since some keyboards need Shift for them; letters by what is printed.
  // A numpad without NumLock sends arrows.
  function nameOf(event) {
    const digit = /^Digit([1-9])$/.exec(event.code || "") || /^([1-9])$/.exec(event.key);
    if (event.key === "?") return "?";
    return digit ? digit[1] : event.key.toLowerCase();
  }

  function Panel() {
    const { createElement, useEffect, useRef } = window.React;
    const root = useRef(null);
    useEffect(() => {
      let page = null;
      let isGone = false;
      const onKey = (event) => {
        const isShortcut = event.ctrlKey || event.metaKey || event.altKey;
        if (!page || isShortcut || isTyping(event.target)) return;
        if (event.repeat && !event.key.startsWith("Arrow")) {
          return void event.stopPropagation(); // a key that is held down decides once
        }
        if (page.press(nameOf(event), event.shiftKey && event.key !== "?")) {
          event.preventDefault();
          event.stopPropagation(); // the App has keys of its own
        }
      };
      const onLeave = (event) => { if (page?.review.jobs.length) event.preventDefault(); };
      const report = (trouble) => {
        if (root.current) root.current.textContent = `Loading: ${trouble}`;
      };
      callUntilAnswered("review_queue", {}, report).then((session) => {
        if (!isGone) page = new Page(root.current, session);
      });
      window.addEventListener("keydown", onKey, true);
      window.addEventListener("beforeunload", onLeave);
      return () => {
        isGone = true;
        window.removeEventListener("keydown", onKey, true);
        window.removeEventListener("beforeunload", onLeave);
        // The grid shows the decisions only after it is loaded again.
        if (page?.review.times.length) window.__foo__?.executeOperator?.("reload_dataset");
      };
    }, []);
    const properties = { ref: root, className: "candid-review", "data-candid": "panel" };
    return createElement("div", properties, "Loading the queue …");
  }

  const style = { rel: "stylesheet", href: "/plugins/review/panel.css" };
  document.head.append(Object.assign(document.createElement("link"), style));
  const { registerComponent, PluginComponentType } = window.__fop__;
  registerComponent({
    name: "CandidReview",
    label: "Review",
    component: Panel,
    type: PluginComponentType.Panel,
    activator: () => true,
    panelOptions: { surfaces: "grid" },
  });
})();

// @ts-check
/** The page at `/`: the picker, with its state in the address bar, and the syncs. */

import { ago, ApiError, Client, element, signInLink, VoicePicker } from "./voice-picker.js";

/** @import { Run } from "./types" */

const RUNS = 20; // on the plot
const SYNC_INTERVAL = 700; // milliseconds between two requests during a sync
const IDLE_INTERVAL = 15_000;

const client = new Client();
const picker = /** @type {VoicePicker} */ (document.querySelector("voice-picker"));
const button = /** @type {HTMLButtonElement | null} */ (document.querySelector("#sync"));
const card = get("#sync-state");
const message = get("#sync-state [role=status]");
const detail = get("#sync-state small");
const progress = /** @type {HTMLProgressElement} */ (get("#sync-state progress"));
const plot = get("#history div");

/** @param {string} selector */
function get(selector) {
	return /** @type {HTMLElement} */ (document.querySelector(selector));
}

// The address bar

picker.query = new URLSearchParams(location.search);
let wasTyping = false; // then the next keystroke replaces the newest entry of the browser's history
picker.addEventListener("voice-find", (event) => {
	const isTyping = /** @type {CustomEvent} */ (event).detail.name === "search";
	const query = picker.query.toString();
	const address = query ? `?${query}` : location.pathname;
	if (isTyping && wasTyping) history.replaceState(null, "", address);
	else history.pushState(null, "", address);
	wasTyping = isTyping;
});
addEventListener("popstate", () => {
	wasTyping = false;
	picker.query = new URLSearchParams(location.search);
});

// Syncs

let isSyncing = false; // a sync that this page started is running
/** @type {number | null | undefined} The id of the newest finished run, at the last poll. */
let lastRunId;
/** @type {Run | null} The run with its outcome on the screen. */
let shownRun = null;
let plotted = "";
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/**
 * Show the state or the outcome of a sync.
 *
 * @param {string} text
 * @param {string} [note]
 * @param {{ failed?: boolean, link?: HTMLElement | "" }} [options]
 */
function showMessage(text, note = "", { failed = false, link = "" } = {}) {
	shownRun = null;
	card.hidden = false;
	card.classList.toggle("failed", failed);
	if (message.textContent !== text) message.textContent = text; // screen readers read it once
	detail.replaceChildren(note, " ", link);
	progress.hidden = true;
}

/** @param {Run} run */
function showProgress(run) {
	const total = run.total === null ? "" : ` of ${run.total.toLocaleString("en")}`;
	const starter = run.started_by ? ` by ${run.started_by}` : run.trigger === "schedule" ? " by the schedule" : "";
	const seconds = Math.max(0, Math.round((Date.now() - Date.parse(run.started_at)) / 1000));
	const fetched = `${run.voices.toLocaleString("en")}${total} voices (page ${run.pages}).`;
	const state = run.pages ? fetched : "Waiting for Ultravox…";
	showMessage("Syncing from Ultravox…", `${state} Started${starter} ${seconds} s ago`);
	progress.hidden = false;
	if (run.total && run.pages) {
		progress.max = run.total;
		progress.value = run.voices;
	} else progress.removeAttribute("value");
}

/** @param {ApiError} error */
function showError(error) {
	if (error.isSignedOut) {
		showMessage("Your session has expired.", "", { failed: true, link: signInLink(picker.getAttribute("login") ?? "") });
	} else showMessage(error.message, "", { failed: true });
}

/** @param {Run} run */
function showOutcome(run) {
	const outcome = run.message?.replace(/[^.)]$/, "$&.") ?? "The sync failed.";
	const voices = run.skipped === 1 ? "1 voice was" : `${run.skipped} voices were`;
	const skipped = run.skipped ? ` ${voices} skipped because Ultravox sent invalid data.` : "";
	showMessage(outcome + skipped, ago(run.finished_at ?? run.started_at), { failed: run.status !== "succeeded" });
	shownRun = run;
}

async function sync() {
	if (!button || isSyncing) return;
	isSyncing = true;
	button.ariaDisabled = "true";
	showMessage("Syncing from Ultravox…");
	progress.hidden = false;
	progress.removeAttribute("value");
	poll(SYNC_INTERVAL / 2);
	try {
		const token = /(?:^|; )csrftoken=([^;]*)/.exec(document.cookie)?.[1] ?? "";
		await client.request("/api/voices/sync/", { method: "POST", headers: { "X-CSRFToken": token } });
		lastRunId ??= null; // so that poll() shows this run's outcome
	} catch (error) {
		if (!(error instanceof ApiError)) throw error;
		showError(error);
	} finally {
		isSyncing = false;
		button.ariaDisabled = null;
	}
	poll();
}
button?.addEventListener("click", sync);

/**
 * Show the last syncs, and poll for new ones, including those that colleagues or the schedule start.
 *
 * @param {number} [delay]  In milliseconds.
 */
function poll(delay = 0) {
	clearTimeout(timer);
	timer = setTimeout(async () => {
		let wait = IDLE_INTERVAL;
		try {
			const { results } = await client.request(`/api/sync-runs/?page_size=${RUNS}`);
			wait = showRuns(results);
		} catch (error) {
			if (!(error instanceof ApiError)) throw error;
			if (error.code === "not_agency_user") return; // staff without permission to view the history
			if (isSyncing) wait = SYNC_INTERVAL;
			else if (!progress.hidden) showError(error);
		}
		poll(document.hidden ? IDLE_INTERVAL : wait);
	}, delay);
}
document.addEventListener("visibilitychange", () => document.hidden || poll());

/**
 * Show the last syncs, and return the delay before the next poll in milliseconds.
 *
 * @param {Run[]} runs  Newest first.
 */
function showRuns(runs) {
	const open = runs.find((run) => run.status === "running");
	const ended = runs.filter((run) => run.status !== "running");
	const [last] = ended;
	if (open) showProgress(open);
	else if (!isSyncing && last) {
		const isNews = lastRunId !== undefined && last.id !== lastRunId;
		if (isNews || shownRun?.id === last.id || (lastRunId === undefined && last.status !== "succeeded")) showOutcome(last);
		if (isNews) picker.refresh();
	}
	if (!isSyncing && (!open || lastRunId === undefined)) lastRunId = last?.id ?? null;
	showPlot(ended);
	return open || isSyncing ? SYNC_INTERVAL : IDLE_INTERVAL;
}

// The plot

const WIDTH = 10; // of a bar and its gap
const HEIGHT = 44;

/** @param {Run} run */
const secondsOf = (run) => (run.finished_at ? (Date.parse(run.finished_at) - Date.parse(run.started_at)) / 1000 : 0);

/** @param {Run} run */
function facts(run) {
	const outcome = run.status === "succeeded" ? `${run.synced.toLocaleString("en")} voices` : run.status;
	return [new Date(run.started_at).toLocaleString(), outcome, `${secondsOf(run).toFixed(1)} s`, run.message ?? ""];
}

/**
 * Draw the voices and, below, the duration of each sync. A cross marks a failed sync.
 *
 * @param {Run[]} runs  Newest first.
 */
function showPlot(runs) {
	if (plotted === JSON.stringify(runs)) return; // a screen reader may be reading the table
	plotted = JSON.stringify(runs);
	get("#history").hidden = !runs.length;
	const most = Math.max(1, ...runs.map((run) => run.synced));
	const longest = Math.max(0.1, ...runs.map(secondsOf));
	const bars = runs.map((run, place) => {
		const x = (RUNS - 1 - place) * WIDTH;
		const voices = Math.max(1, (run.synced / most) * HEIGHT);
		const duration = Math.max(1, (secondsOf(run) / longest) * (HEIGHT / 2));
		const mark = run.status === "succeeded"
			? `<rect x="${x}" y="${HEIGHT - voices}" width="${WIDTH - 3}" height="${voices}"/>`
			: `<path d="M${x} ${HEIGHT - 8}l7 7m0 -7l-7 7"/>`;
		return `<g><title></title>${mark}
			<rect class="duration" x="${x}" y="${HEIGHT + 4}" width="${WIDTH - 3}" height="${duration}"/></g>`;
	});
	plot.innerHTML = `<svg viewBox="0 0 ${RUNS * WIDTH} ${HEIGHT * 1.5 + 6}" aria-hidden="true">${bars.join("")}</svg>`;
	for (const [place, title] of plot.querySelectorAll("title").entries()) {
		title.textContent = facts(/** @type {Run} */ (runs[place])).join(", ");
	}
	const caption = `Voices per sync (max ${most.toLocaleString("en")}) · Duration (max ${longest.toFixed(1)} s)`;
	const head = ["Started", "Outcome", "Duration", "Message"].map((name) => element("th", { scope: "col" }, name));
	const rows = runs.map((run) => element("tr", {}, ...facts(run).map((text) => element("td", {}, text))));
	const table = element("table", {},
		element("caption", {}, "Last syncs, newest first"),
		element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
	plot.append(element("p", { ariaHidden: "true" }, caption), element("div", { className: "unseen" }, table));
}

/** @type {HTMLDetailsElement} */ (get("#history")).open = matchMedia("(min-width: 50rem)").matches;
poll();

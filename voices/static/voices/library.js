// @ts-check
/** The page at `/`: the picker, whose state the address bar holds, and the syncs. A client of the API alone. */

import { ago, ApiError, Client, element, signIn, VoicePicker } from "./voice-picker.js";

/** @import { Run } from "./types" */

const RUNS = 20; // on the plot
const SOON = 700; // milliseconds between two looks at a sync under way
const LATER = 15_000; // where there is none

const client = new Client();
const picker = /** @type {VoicePicker} */ (document.querySelector("voice-picker"));
const button = /** @type {HTMLButtonElement | null} */ (document.querySelector("#sync"));
const card = get("#sync-state");
const words = get("#sync-state [role=status]");
const more = get("#sync-state small");
const bar = /** @type {HTMLProgressElement} */ (get("#sync-state progress"));
const plot = get("#history div");

/** @param {string} selector */
function get(selector) {
	return /** @type {HTMLElement} */ (document.querySelector(selector));
}

// The address bar

picker.query = new URLSearchParams(location.search);
let typed = false; // whether the newest entry of the browser's history is for words that are being typed
picker.addEventListener("voice-find", (event) => {
	const isTyping = /** @type {CustomEvent} */ (event).detail.name === "search";
	const query = picker.query.toString();
	const address = query ? `?${query}` : location.pathname;
	if (isTyping && typed) history.replaceState(null, "", address);
	else history.pushState(null, "", address);
	typed = isTyping;
});
addEventListener("popstate", () => {
	typed = false;
	picker.query = new URLSearchParams(location.search);
});

// Syncs

let isOurs = false; // whether a sync that was started here is under way
/** @type {number | null | undefined} the newest run that has ended, when we looked last */
let newest;
/** @type {Run | null} the one whose outcome is shown */
let told = null;
let plotted = "";
/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;

/**
 * Say how a sync goes, or went.
 *
 * @param {string} text
 * @param {string} [detail]
 * @param {{ failed?: boolean, link?: HTMLElement | "" }} [how]
 */
function say(text, detail = "", { failed = false, link = "" } = {}) {
	told = null;
	card.hidden = false;
	card.classList.toggle("failed", failed);
	if (words.textContent !== text) words.textContent = text; // read out once
	more.replaceChildren(detail, " ", link);
	bar.hidden = true;
}

/** @param {Run} run */
function sayProgress(run) {
	const of = run.total === null ? "" : ` of ${run.total.toLocaleString("en")}`;
	const who = run.started_by ? ` by ${run.started_by}` : run.trigger === "schedule" ? " by the schedule" : "";
	const seconds = Math.max(0, Math.round((Date.now() - Date.parse(run.started_at)) / 1000));
	const far = run.pages ? `${run.voices.toLocaleString("en")}${of} voices, page ${run.pages}` : "waiting for Ultravox";
	say("Syncing from Ultravox…", `${far} · started${who} ${seconds} s ago`);
	bar.hidden = false;
	if (run.total && run.pages) {
		bar.max = run.total;
		bar.value = run.voices;
	} else bar.removeAttribute("value");
}

/** @param {ApiError} error */
function sayError(error) {
	if (error.isSignedOut) {
		say("Your session has ended.", "", { failed: true, link: signIn(picker.getAttribute("login") ?? "") });
	} else say(error.message, "", { failed: true });
}

/** @param {Run} run */
function sayOutcome(run) {
	const skipped = run.skipped ? ` ${run.skipped} records could not be stored.` : "";
	const message = run.message?.replace(/[^.]$/, "$&.") ?? "The sync failed.";
	say(message + skipped, ago(run.finished_at ?? run.started_at), { failed: run.status !== "succeeded" });
	told = run;
}

async function sync() {
	if (!button || isOurs) return;
	isOurs = true;
	button.ariaDisabled = "true";
	say("Syncing from Ultravox…");
	bar.hidden = false;
	bar.removeAttribute("value");
	look(SOON / 2);
	try {
		const token = /(?:^|; )csrftoken=([^;]*)/.exec(document.cookie)?.[1] ?? "";
		await client.ask("/api/voices/sync/", { method: "POST", headers: { "X-CSRFToken": token } });
		newest ??= null; // what comes is news
	} catch (error) {
		if (!(error instanceof ApiError)) throw error;
		sayError(error);
	} finally {
		isOurs = false;
		button.ariaDisabled = null;
	}
	look(); // tells how it ended
}
button?.addEventListener("click", sync);

/**
 * Look at the last syncs, again and again, and show those that a colleague or the schedule started, too.
 *
 * @param {number} [delay]  In milliseconds.
 */
function look(delay = 0) {
	clearTimeout(timer);
	timer = setTimeout(async () => {
		let wait = LATER;
		try {
			const { results } = await client.ask(`/api/sync-runs/?page_size=${RUNS}`);
			wait = showRuns(results);
		} catch (error) {
			if (!(error instanceof ApiError)) throw error;
			if (error.code === "not_agency_user") return; // staff who may not view the history
			if (isOurs) wait = SOON;
			else if (!bar.hidden) sayError(error);
		}
		look(document.hidden ? LATER : wait);
	}, delay);
}
document.addEventListener("visibilitychange", () => document.hidden || look());

/**
 * Show the last syncs; return when to look again, in milliseconds.
 *
 * @param {Run[]} runs  Newest first.
 */
function showRuns(runs) {
	const open = runs.find((run) => run.status === "running");
	const ended = runs.filter((run) => run.status !== "running");
	const [last] = ended;
	if (open) sayProgress(open);
	else if (!isOurs && last) {
		const isNews = newest !== undefined && last.id !== newest;
		if (isNews || told?.id === last.id || (newest === undefined && last.status !== "succeeded")) sayOutcome(last);
		if (isNews) picker.refresh();
	}
	if (!isOurs && (!open || newest === undefined)) newest = last?.id ?? null;
	showPlot(ended);
	return open || isOurs ? SOON : LATER;
}

// The plot

const WIDTH = 10; // of a bar with its gap
const HEIGHT = 44;

/** @param {Run} run */
const secondsOf = (run) => (run.finished_at ? (Date.parse(run.finished_at) - Date.parse(run.started_at)) / 1000 : 0);

/** @param {Run} run */
function facts(run) {
	const outcome = run.status === "succeeded" ? `${run.synced.toLocaleString("en")} voices` : run.status;
	return [new Date(run.started_at).toLocaleString(), outcome, `${secondsOf(run).toFixed(1)} s`, run.message ?? ""];
}

/**
 * Draw how many voices each sync wrote, above how long it took; a cross marks one that failed.
 *
 * @param {Run[]} runs  Newest first.
 */
function showPlot(runs) {
	if (plotted === JSON.stringify(runs)) return; // somebody may be reading it
	plotted = JSON.stringify(runs);
	get("#history").hidden = !runs.length;
	const most = Math.max(1, ...runs.map((run) => run.synced));
	const longest = Math.max(0.1, ...runs.map(secondsOf));
	const bars = runs.map((run, place) => {
		const x = (RUNS - 1 - place) * WIDTH;
		const voices = Math.max(1, (run.synced / most) * HEIGHT);
		const took = Math.max(1, (secondsOf(run) / longest) * (HEIGHT / 2));
		const mark = run.status === "succeeded"
			? `<rect x="${x}" y="${HEIGHT - voices}" width="${WIDTH - 3}" height="${voices}"/>`
			: `<path d="M${x} ${HEIGHT - 8}l7 7m0 -7l-7 7"/>`;
		return `<g><title></title>${mark}
			<rect class="took" x="${x}" y="${HEIGHT + 4}" width="${WIDTH - 3}" height="${took}"/></g>`;
	});
	plot.innerHTML = `<svg viewBox="0 0 ${RUNS * WIDTH} ${HEIGHT * 1.5 + 6}" aria-hidden="true">${bars.join("")}</svg>`;
	for (const [place, title] of plot.querySelectorAll("title").entries()) {
		title.textContent = facts(/** @type {Run} */ (runs[place])).join(", ");
	}
	const caption = `Voices, up to ${most.toLocaleString("en")}; below, seconds, up to ${longest.toFixed(1)}`;
	const head = ["Started", "Outcome", "Duration", "Message"].map((name) => element("th", { scope: "col" }, name));
	const rows = runs.map((run) => element("tr", {}, ...facts(run).map((text) => element("td", {}, text))));
	const table = element("table", {},
		element("caption", {}, "Last syncs, newest first"),
		element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
	plot.append(element("p", { ariaHidden: "true" }, caption), element("div", { className: "unseen" }, table));
}

/** @type {HTMLDetailsElement} */ (get("#history")).open = matchMedia("(min-width: 50rem)").matches;
look();

/** What the API answers, as far as the pages read it; browsers do not load this. */

type Optional =
	| "description" | "language_label" | "primary_language" | "ownership" | "billing_style"
	| "provider" | "preview_url";

export type Voice = { id: string; name: string; listed: boolean } & Record<Optional, string | null>;

export type Facet = { value: string | boolean | null; label: string; count: number };

export type LastSync = { finished_at: string; synced: number } | null;

export type Listing = {
	count: number;
	next: string | null;
	results: Voice[];
	facets: Record<string, Facet[]>;
	last_sync: LastSync;
};

export type Run = {
	id: number;
	trigger: string;
	status: "running" | "succeeded" | "failed" | "abandoned";
	started_at: string;
	finished_at: string | null;
	started_by: string | null;
	pages: number;
	voices: number;
	total: number | null;
	synced: number;
	skipped: number;
	message: string | null;
};

/** Of a user; none where nobody is signed in. */
export type Token = string | null | undefined;

/** A value of a filter, as the API's parameter takes it. */
export type Choice = {
	value: string;
	label: string;
	count: number;
	checked: boolean;
	/** Whether some of its regions are checked. */
	mixed?: boolean;
	region?: boolean;
};

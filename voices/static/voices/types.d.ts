/** The fields of the API's responses that the pages read. For the type check only; browsers do not load it. */

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

/** A user's access token, or nothing if the user is signed out. */
export type Token = string | null | undefined;

/** A value of a filter. */
export type Choice = {
	value: string;
	label: string;
	count: number;
	checked: boolean;
	/** Some regions of this language are checked. */
	mixed?: boolean;
	region?: boolean;
};

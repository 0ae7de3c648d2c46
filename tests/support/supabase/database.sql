-- A database as a Supabase project has it, with what such a product keeps there.
DO $$ BEGIN CREATE ROLE anon NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
DO $$ BEGIN CREATE ROLE authenticated NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$;
GRANT USAGE ON SCHEMA public TO anon, authenticated;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO anon, authenticated;

CREATE SCHEMA auth;
CREATE TABLE auth.users (id uuid PRIMARY KEY, email varchar(255), encrypted_password varchar(255), phone text);
INSERT INTO auth.users VALUES
    ('00000000-0000-4000-8000-000000000001', 'Anna@Example.com', 'secret-hash', NULL),
    ('00000000-0000-4000-8000-000000000002', 'ben@example.com', 'secret-hash', NULL),
    ('00000000-0000-4000-8000-000000000003', NULL, NULL, '+49 30 1234567'),
    ('00000000-0000-4000-8000-000000000004', 'ANNA@example.com', 'secret-hash', NULL);

CREATE TABLE public.agencies (id uuid PRIMARY KEY, name text NOT NULL, secret_name text);
ALTER TABLE public.agencies ENABLE ROW LEVEL SECURITY;
INSERT INTO public.agencies VALUES
    ('10000000-0000-4000-8000-000000000001', 'First agency', 'first'),
    ('10000000-0000-4000-8000-000000000002', 'Second agency', 'second'),
    ('10000000-0000-4000-8000-000000000003', 'Keyless agency', NULL);

CREATE TABLE public.profiles (id uuid PRIMARY KEY REFERENCES auth.users, agency_id uuid);
ALTER TABLE public.profiles ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_profile ON public.profiles FOR SELECT TO authenticated USING (true);
INSERT INTO public.profiles VALUES
    ('00000000-0000-4000-8000-000000000001', '10000000-0000-4000-8000-000000000001'),
    ('00000000-0000-4000-8000-000000000002', '10000000-0000-4000-8000-00000000dead');

CREATE SCHEMA vault;
CREATE TABLE vault.secrets (name text PRIMARY KEY, secret text);
CREATE FUNCTION public.get_agency_credentials(agency uuid) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS
    $$ SELECT secret FROM vault.secrets s JOIN public.agencies a ON a.secret_name = s.name WHERE a.id = agency $$;
REVOKE ALL ON FUNCTION public.get_agency_credentials FROM PUBLIC;

CREATE TABLE public.ultravox_voices (
    id text PRIMARY KEY, name text NOT NULL, description text, language_label text, primary_language text,
    ownership text, billing_style text, provider text, preview_url text, definition jsonb,
    last_synced_at timestamptz NOT NULL DEFAULT now());
INSERT INTO public.ultravox_voices (id, name, ownership, definition) VALUES
    ('open', 'Open', 'public', '{"elevenLabs": {"voiceId": "x"}}'),
    ('closed', 'Closed', 'private', '{"generic": {"url": "secret-url"}}');

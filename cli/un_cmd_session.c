/*
 * un_cmd_session.c - `un session`: begin one and be in it, come back to it, and
 * what is done with it from outside.
 *
 * A session that we began is ended by us after its program was, which brings
 * its artifacts; one that goes on without us (a multiplexer, --persist) is only
 * left.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "cleanup.h"
#include "json.h"
#include "un_api.h"
#include "un_artifact.h"
#include "un_attach.h"
#include "un_cmd.h"
#include "un_execute.h"
#include "un_input.h"
#include "un_interrupt.h"
#include "un_output.h"
#include "un_session.h"
#include "un_tty.h"

enum {
	VCPU_MAX = 8,
	TTL_DAY = 86400,
	SLACK_MS = 60000, /* past its time, before we give a session up */
	END_TRIES = 5,
	END_PAUSE_MS = 1000,
	STATUS_NOT_FOUND = 404,
	STATUS_BROKEN = 500,
};
static const size_t end_answer_max = (size_t)1 << 30; /* all artifacts */
static const char recording[] = "session.log.gz";

struct session_options {
	const char *shell, *output, *network;
	const char *info, *attach, *kill, *freeze, *unfreeze, *boost, *unboost;
	const char *snapshot, *snapshot_name, *restore;
	struct un_list files;
	int vcpu, ttl, boost_vcpu;
	bool tmux, screen, persist, audit, artifacts, readonly, list, yes, hot;
};

#define AT(member) .offset = offsetof(struct session_options, member)
static const struct un_opt opts[] = {
	{ 's', UN_OPT_TEXT, "shell", AT(shell), .arg = "SHELL",
	    .help = "shell or REPL (default bash)" },
	{ 0, UN_OPT_FLAG, "tmux", AT(tmux),
	    .help = "in tmux: can be left (Ctrl-b d) and come back to" },
	{ 0, UN_OPT_FLAG, "screen", AT(screen),
	    .help = "the same in screen (Ctrl-a d)" },
	{ 0, UN_OPT_FLAG, "persist", AT(persist),
	    .help = "the same without either (Enter ~ .)" },
	{ 0, UN_OPT_NUMBER, "ttl", AT(ttl), 1, TTL_DAY, "SECONDS",
	    "its life, 1 to 86400 (default 3600)" },
	{ 'f', UN_OPT_LIST, NULL, AT(files), .max = UN_FILES_MAX, .arg = "FILE",
	    .help = "input file, by its base name (again for more)" },
	{ 'F', UN_OPT_LIST, NULL, AT(files), .max = UN_FILES_MAX, .arg = "FILE",
	    .help = "input file, by its path as typed" },
	{ 'y', UN_OPT_FLAG, "yes", AT(yes),
	    .help = "do not ask about large input files" },
	{ 'n', UN_OPT_TEXT, "network", AT(network), .arg = "MODE",
	    .help = "zerotrust (default) or semitrusted" },
	{ 'v', UN_OPT_NUMBER, "vcpu", AT(vcpu), 1, VCPU_MAX, "N",
	    "processors, 1 to 8, with 2 GB of memory each" },
	{ 'a', UN_OPT_FLAG, "artifacts", AT(artifacts),
	    .help = "save /tmp/artifacts at its end" },
	{ 'o', UN_OPT_TEXT, "output", AT(output), .arg = "DIR",
	    .help = "where to save them (implies -a; default .)" },
	{ 0, UN_OPT_FLAG, "audit", AT(audit),
	    .help = "record it, and save the recording (implies -a)" },
	{ 'l', UN_OPT_FLAG, "list", AT(list), .help = "list sessions" },
	{ 0, UN_OPT_TEXT, "info", AT(info), .arg = "ID",
	    .help = "show a session (ID: or its container)" },
	{ 0, UN_OPT_TEXT, "attach", AT(attach), .arg = "ID",
	    .help = "be in a session that is there" },
	{ 0, UN_OPT_FLAG, "read-only", AT(readonly),
	    .help = "with --attach: look only (Ctrl-C leaves)" },
	{ 0, UN_OPT_TEXT, "kill", AT(kill), .arg = "ID",
	    .help = "end a session; -a and --audit save as above" },
	{ 0, UN_OPT_TEXT, "freeze", AT(freeze), .arg = "ID",
	    .help = "stop its processes and its time" },
	{ 0, UN_OPT_TEXT, "unfreeze", AT(unfreeze), .arg = "ID",
	    .help = "let it go on" },
	{ 0, UN_OPT_TEXT, "boost", AT(boost), .arg = "ID",
	    .help = "more processors and memory, at once" },
	{ 0, UN_OPT_NUMBER, "boost-vcpu", AT(boost_vcpu), 1, VCPU_MAX, "N",
	    "with --boost: so many, 1 to 8 (default 2)" },
	{ 0, UN_OPT_TEXT, "unboost", AT(unboost), .arg = "ID",
	    .help = "as many as it began with" },
	{ 0, UN_OPT_TEXT, "snapshot", AT(snapshot), .arg = "ID",
	    .help = "not available on this farm yet" },
	{ 0, UN_OPT_TEXT, "snapshot-name", AT(snapshot_name), .arg = "NAME",
	    .help = "its name" },
	{ 0, UN_OPT_FLAG, "hot", AT(hot), .help = "while it runs" },
	{ 0, UN_OPT_TEXT, "restore", AT(restore), .arg = "SNAPSHOT",
	    .help = "not available on this farm yet" },
};

/* ---- calls ---- */

static int
call_id(struct un_api *api, const char *method, const char *id,
    const char *behind, const char *body, struct un_reply *ret_reply)
{
	struct un_request rq = { .method = method,
		.body = body,
		.body_len = body ? strlen(body) : 0 };
	auto_free char *path = NULL;

	if (asprintf(&path, "/sessions/%s%s", id, behind) < 0)
		abort();
	rq.path = path;
	return un_cmd_call(api, &rq, ret_reply);
}

/* The session of an id, or of a container's name. */
static int
find(struct un_api *api, const char *name, json_t **ret_session)
{
	auto_reply struct un_reply reply = { .status = 0 };
	auto_free char *path = NULL;
	struct un_request rq = { .method = "GET" };
	struct err err;

	if (asprintf(&path, "/sessions/%s", name) < 0)
		abort();
	rq.path = path;
	if (un_api_call(api, &rq, &reply, &err) < 0)
		return un_output_refuse(UN_FAILED, "%s", err.msg);
	if (reply.status == STATUS_NOT_FOUND)
		return un_output_refuse(
		    UN_FAILED, "Session not found or already terminated");
	if (!un_reply_ok(&reply)) {
		un_reply_complain(&reply);
		return UN_FAILED;
	}
	if (!*un_session_id(reply.json))
		return un_output_refuse(UN_FAILED,
		    "%s did not answer with a session", un_api_base(api));
	*ret_session = json_incref(reply.json);
	return UN_OK;
}

/* ---- its end ---- */

static bool
wants_artifacts(const struct session_options *o)
{
	return o->artifacts || o->output || o->audit;
}

static bool
is_recorded(const json_t *answer)
{
	const json_t *list = json_object_get(answer, "artifacts"), *a;
	size_t i;

	json_array_foreach (list, i, a)
		if (strcmp(un_api_text(a, "filename"), recording) == 0)
			return true;
	return false;
}

/* For a shell, as it is: the folder's name in quotes when it needs them. */
static void
tell_replay(const char *dir)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz0123456789"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ_./+,:@%-";
	const char *quote = dir[strspn(dir, plain)] ? "'" : "";
	const char *slash = *dir && dir[strlen(dir) - 1] != '/' ? "/" : "";

	un_output_line(stderr, UN_YELLOW,
	    "Tip: Replay session with: zcat %s%s%s%ssession.log*.gz | less -R",
	    quote, dir, slash, quote);
}

/* They are gone with this answer. */
static void
tell_unsaved(const json_t *answer)
{
	size_t n = json_array_size(json_object_get(answer, "artifacts"));

	if (n > 0)
		un_output_line(stderr, UN_YELLOW,
		    "Not saved: %zu file%s of /tmp/artifacts (-a saves %s)", n,
		    n == 1 ? "" : "s", n == 1 ? "it" : "them");
}

static int
save(const struct session_options *o, const json_t *answer,
    const char *container)
{
	if (!wants_artifacts(o)) {
		tell_unsaved(answer);
		return UN_OK;
	}
	if (!un_artifact_save_named(
		answer, o->output ? o->output : ".", container))
		return UN_FAILED;
	if (json_is_true(json_object_get(answer, "artifacts_truncated")))
		un_output_line(stderr, UN_YELLOW,
		    "un: artifacts were left out at a limit");
	if (is_recorded(answer))
		tell_replay(o->output ? o->output : "");
	return UN_OK;
}

/* A farm that starts again has the artifacts still. */
static int
end_call(struct un_api *api, const char *id, bool audit,
    struct un_reply *ret_reply, struct err *err)
{
	struct un_request rq = { .method = "DELETE",
		.answer_max = end_answer_max };
	auto_free char *path = NULL;

	if (asprintf(&path, "/sessions/%s%s", id, audit ? "?audit=1" : "") < 0)
		abort();
	rq.path = path;
	for (int i = 0;; i++) {
		bool heard = un_api_call(api, &rq, ret_reply, err) == 0;

		if ((heard && ret_reply->status < STATUS_BROKEN) ||
		    i == END_TRIES)
			return heard ? 0 : -1;
		un_reply_done(ret_reply);
		un_interrupt_sleep(END_PAUSE_MS);
	}
}

static int
end_failed(const char *id, const struct un_reply *reply, const struct err *err)
{
	if (err)
		un_output_error("%s", err->msg);
	else if (reply->status == STATUS_NOT_FOUND)
		return un_output_refuse(
		    UN_FAILED, "Session not found or already terminated");
	else
		un_reply_complain(reply);
	un_output_line(stderr, UN_PLAIN,
	    "What it left may still be there: un session --kill %s -a", id);
	return UN_FAILED;
}

/* Ends it when it has not ended, and saves what is wanted of it. */
static int
end(struct un_api *api, const struct session_options *o, const json_t *session)
{
	auto_reply struct un_reply reply = { .status = 0 };
	const char *id = un_session_id(session);
	struct err err;

	if (end_call(api, id, o->audit, &reply, &err) < 0)
		return end_failed(id, &reply, &err);
	if (reply.status == STATUS_NOT_FOUND && !wants_artifacts(o))
		return UN_OK; /* somebody else was quicker */
	if (!un_reply_ok(&reply))
		return end_failed(id, &reply, NULL);
	return save(o, reply.json, un_session_container(session));
}

/* ---- being in it ---- */

struct stay {
	struct un_api *api;
	const struct session_options *o;
	const json_t *session;
	bool ours; /* we began it */
	bool connected;
	bool in_line; /* its output ended in the middle of a line */
};

static void
on_connected(void *ctx)
{
	struct stay *s = ctx;

	s->connected = true;
	(void)fputs(" done\n", stderr);
}

static const char *
line_end(const struct stay *s)
{
	return s->in_line ? "\n" : "";
}

static void
say_ended(const struct stay *s, const char *reason)
{
	const char *why = un_session_reason(reason);

	un_output_line(stderr, UN_PLAIN, "%sSession ended.", line_end(s));
	if (why)
		un_output_line(stderr, UN_YELLOW, "It ended because %s.", why);
}

static void
say_detached(const struct stay *s)
{
	un_output_line(stderr, UN_PLAIN,
	    "%sSession detached. Reconnect with: un session --attach %s",
	    line_end(s), un_session_container(s->session));
}

/* We go while its program is still there. */
static int
left(const struct stay *s)
{
	if (un_session_is_kept(s->session) || s->o->readonly) {
		say_detached(s);
		return UN_OK;
	}
	if (!s->ours) {
		un_output_line(
		    stderr, UN_PLAIN, "%sSession left.", line_end(s));
		return UN_OK;
	}
	say_ended(s, "exit");
	return end(s->api, s->o, s->session);
}

static int
lost(const struct stay *s, const struct un_attach_result *r)
{
	if (!s->connected)
		(void)fputs(" failed\n", stderr);
	else
		(void)fputs(line_end(s), stderr);
	if (r->end == UN_ATTACH_GONE)
		un_output_error("Session not found or already terminated");
	else
		un_output_error("%s", r->err.msg);
	if (r->end == UN_ATTACH_FAILED && s->connected)
		un_output_line(stderr, UN_PLAIN,
		    "It may still be there: un session --attach %s",
		    un_session_container(s->session));
	else if (s->ours && !s->connected)
		(void)end(s->api, s->o, s->session);
	return UN_FAILED;
}

static int
after(const struct stay *s, const struct un_attach_result *r)
{
	switch (r->end) {
	case UN_ATTACH_EXIT:
		say_ended(s, r->reason);
		return s->ours || wants_artifacts(s->o)
			   ? end(s->api, s->o, s->session)
			   : UN_OK;
	case UN_ATTACH_DETACHED:
		say_detached(s);
		return UN_OK;
	case UN_ATTACH_LEFT:
		return left(s);
	case UN_ATTACH_SIGNAL:
		(void)left(s);
		return UN_SIGNALED + r->signal;
	case UN_ATTACH_GONE:
	case UN_ATTACH_FAILED:
		break;
	}
	return lost(s, r);
}

static int
stay(struct stay *s)
{
	const json_t *life = json_object_get(s->session, "remaining_ttl");
	const struct un_attach a = {
		.api = s->api,
		.session = un_session_id(s->session),
		.readonly = s->o->readonly,
		.replay = !s->ours,
		.repaint = !s->ours && *un_api_text(s->session, "multiplexer"),
		.life_ms = json_integer_value(life) * 1000 + SLACK_MS,
		.on_connected = on_connected,
		.ctx = s,
	};
	struct un_attach_result r;

	un_attach_run(&a, &r);
	s->in_line = r.in_line;
	return after(s, &r);
}

/* ---- a new one ---- */

static json_t *
body_make(const struct session_options *o, struct err *err)
{
	json_t *body = json_object();
	unsigned cols, rows;

	json_set_str(
	    body, "network_mode", o->network ? o->network : "zerotrust");
	json_set_int(body, "ttl", o->ttl ? o->ttl : 3600);
	json_set_str(body, "shell", o->shell ? o->shell : "bash");
	if (o->tmux || o->screen)
		json_set_str(body, "multiplexer", o->tmux ? "tmux" : "screen");
	if (o->persist)
		json_set_bool(body, "persist", true);
	if (o->vcpu)
		json_set_int(body, "vcpu", o->vcpu);
	if (o->audit)
		json_set_bool(body, "audit", true);
	if (un_tty_size(&cols, &rows)) {
		json_set_int(body, "cols", cols);
		json_set_int(body, "rows", rows);
	}
	if (un_input_add(body, &o->files, o->yes, err) == 0)
		return body;
	json_decref(body);
	return NULL;
}

/* The first Ctrl-C waits for the answer: else nobody would know its id. */
static int
create(struct un_api *api, const json_t *body, struct un_reply *ret_reply)
{
	auto_free char *text = json_text(body);
	const struct un_request rq = { .method = "POST",
		.path = "/sessions",
		.body = text,
		.body_len = strlen(text),
		.to_its_end = true };
	struct err err;

	if (un_api_call(api, &rq, ret_reply, &err) == 0 &&
	    un_reply_ok(ret_reply) && *un_session_id(ret_reply->json))
		return UN_OK;
	(void)fputs(" failed\n", stderr);
	if (ret_reply->status == 0)
		un_output_error("%s", err.msg);
	else if (!un_reply_ok(ret_reply))
		un_reply_complain(ret_reply);
	else
		un_output_error(
		    "%s did not answer with a session", un_api_base(api));
	return UN_FAILED;
}

static int
interrupted(struct stay *s)
{
	int sig = un_interrupt_take();

	(void)fputs(" interrupted\n", stderr);
	(void)end(s->api, s->o, s->session);
	return UN_SIGNALED + sig;
}

static int
begin(struct un_api *api, const struct session_options *o)
{
	auto_reply struct un_reply reply = { .status = 0 };
	struct stay s = { .api = api, .o = o, .ours = true };
	json_auto_t *body = NULL;
	struct err err;
	int status;

	body = body_make(o, &err);
	if (!body)
		return un_output_refuse(UN_FAILED, "%s", err.msg);
	(void)fputs("Connecting to unsandbox...", stderr);
	un_interrupt_catch();
	status = create(api, body, &reply);
	un_interrupt_release();
	s.session = reply.json;
	if (status != UN_OK)
		return status;
	return un_interrupt_pending() ? interrupted(&s) : stay(&s);
}

/* ---- one that is there ---- */

static int
attach(struct un_api *api, const struct session_options *o, const char *name)
{
	struct stay s = { .api = api, .o = o };
	json_auto_t *session = NULL;
	int status = find(api, name, &session);

	if (status != UN_OK)
		return status;
	s.session = session;
	(void)fprintf(
	    stderr, "Reconnecting to session %s...", un_session_id(session));
	return stay(&s);
}

static int
kill_session(
    struct un_api *api, const struct session_options *o, const char *name)
{
	auto_reply struct un_reply reply = { .status = 0 };
	json_auto_t *session = NULL;
	int status = find(api, name, &session);
	const char *id = un_session_id(session);
	struct err err;

	if (status != UN_OK)
		return status;
	(void)fprintf(stderr, "Terminating session %s...", id);
	status = end_call(api, id, o->audit, &reply, &err);
	if (status < 0 || !un_reply_ok(&reply)) {
		(void)fputs(" failed\n", stderr);
		return end_failed(id, &reply, status < 0 ? &err : NULL);
	}
	(void)fputs(" done\n", stderr);
	un_output_line(stdout, UN_GREEN, "Session terminated successfully");
	return save(o, reply.json, un_session_container(session));
}

static int
info(struct un_api *api, const struct session_options *o, const char *name)
{
	json_auto_t *session = NULL;
	int status = find(api, name, &session);

	(void)o;
	if (status == UN_OK)
		un_session_show(session);
	return status;
}

static int
freeze(struct un_api *api, const struct session_options *o, const char *name)
{
	auto_reply struct un_reply reply = { .status = 0 };

	(void)o;
	if (call_id(api, "POST", name, "/freeze", NULL, &reply) < 0)
		return UN_FAILED;
	un_output_line(stderr, UN_GREEN, "Session frozen successfully");
	return UN_OK;
}

static int
unfreeze(struct un_api *api, const struct session_options *o, const char *name)
{
	auto_reply struct un_reply reply = { .status = 0 };

	(void)o;
	if (call_id(api, "POST", name, "/unfreeze", NULL, &reply) < 0)
		return UN_FAILED;
	un_output_line(stdout, UN_GREEN, "Session woken successfully");
	return UN_OK;
}

static int
boost(struct un_api *api, const struct session_options *o, const char *name)
{
	auto_reply struct un_reply reply = { .status = 0 };
	char body[32];

	(void)snprintf(body, sizeof(body), "{\"vcpu\":%d}",
	    o->boost_vcpu ? o->boost_vcpu : 2);
	if (call_id(api, "POST", name, "/boost", body, &reply) < 0)
		return UN_FAILED;
	un_output_line(stdout, UN_GREEN,
	    "Session boosted to %" JSON_INTEGER_FORMAT
	    " vCPU, %" JSON_INTEGER_FORMAT " MB RAM",
	    json_integer_value(json_object_get(reply.json, "vcpu")),
	    json_integer_value(json_object_get(reply.json, "memory_mb")));
	return UN_OK;
}

static int
unboost(struct un_api *api, const struct session_options *o, const char *name)
{
	auto_reply struct un_reply reply = { .status = 0 };

	(void)o;
	if (call_id(api, "POST", name, "/unboost", NULL, &reply) < 0)
		return UN_FAILED;
	un_output_line(
	    stdout, UN_GREEN, "Session unboosted, returning to base resources");
	return UN_OK;
}

static int
list(struct un_api *api)
{
	const struct un_request rq = { .method = "GET", .path = "/sessions" };
	auto_reply struct un_reply reply;

	if (un_cmd_call(api, &rq, &reply) < 0)
		return UN_FAILED;
	un_session_show_list(reply.json);
	return UN_OK;
}

static const struct action {
	size_t offset; /* of the option that names the session */
	int (*run)(struct un_api *api, const struct session_options *o,
	    const char *name);
} actions[] = {
	{ offsetof(struct session_options, info), info },
	{ offsetof(struct session_options, attach), attach },
	{ offsetof(struct session_options, kill), kill_session },
	{ offsetof(struct session_options, freeze), freeze },
	{ offsetof(struct session_options, unfreeze), unfreeze },
	{ offsetof(struct session_options, boost), boost },
	{ offsetof(struct session_options, unboost), unboost },
};

static const char *
name_given(const struct session_options *o, const struct action *a)
{
	return *(const char *const *)((const char *)o + a->offset);
}

/* How many there are; the last of them. */
static int
find_action(const struct session_options *o, const struct action **ret_action)
{
	int n = o->list;

	*ret_action = NULL;
	for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
		if (!name_given(o, &actions[i]))
			continue;
		*ret_action = &actions[i];
		n++;
	}
	return n;
}

static int
check(const struct un_call *call, const struct action *a, int n_actions)
{
	const struct session_options *o = call->options;

	if (o->snapshot || o->restore)
		return un_output_refuse(UN_FAILED,
		    "--%s is not available on this farm yet",
		    o->snapshot ? "snapshot" : "restore");
	if (n_actions > 1)
		return un_output_refuse(UN_USAGE,
		    "--list, --info, --attach, --kill and the like: choose "
		    "one");
	if (a && !un_session_name_valid(name_given(o, a)))
		return un_output_refuse(
		    UN_USAGE, "`%s` names no session", name_given(o, a));
	if (o->tmux + o->screen + o->persist > 1)
		return un_output_refuse(
		    UN_USAGE, "--tmux, --screen and --persist: choose one");
	if (o->readonly && (!o->attach || wants_artifacts(o)))
		return un_output_refuse(UN_USAGE,
		    "--read-only goes with --attach, and without artifacts");
	if (o->boost_vcpu && !o->boost)
		return un_output_refuse(
		    UN_USAGE, "--boost-vcpu goes with --boost");
	return un_cmd_no_words(call);
}

static int
run(const struct un_call *call)
{
	const struct session_options *o = call->options;
	const struct action *a;
	struct un_api *api = NULL;
	int n = find_action(o, &a);
	int status = check(call, a, n);

	if (status == UN_OK)
		status = un_cmd_connect(&call->global, true, &api);
	if (status == UN_OK)
		status = a         ? a->run(api, o, name_given(o, a))
			 : o->list ? list(api)
				   : begin(api, o);
	un_api_free(api);
	return status;
}

const struct un_cmd un_cmd_session = {
	.name = "session",
	.usage = "un session [-s SHELL] [--tmux | --screen | --persist] "
		 "[options]\n"
		 "       un session --list\n"
		 "       un session --attach ID [--read-only] [-a] [-o DIR]\n"
		 "       un session --kill ID [-a] [--audit] [-o DIR]\n"
		 "       un session --info | --freeze | --unfreeze | --boost | "
		 "--unboost ID",
	.summary = "interactive shells and REPLs in a sandbox of their own",
	.opts = opts,
	.n_opts = ARRAY_LEN(opts),
	.options_size = sizeof(struct session_options),
	.run = run,
};

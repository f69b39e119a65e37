/*
 * GET /sessions/{id}/shell: a WebSocket to the terminal; POST .../tickets.
 *
 * Who may attach: who signs the upgrade as any other call; who has a ticket,
 * which is good once and for a short time, in the query or beside the
 * subprotocol, where browsers can put it; and, unless gateway.session_id_auth
 * is off, who knows the id, as the compatible client does.
 *
 * The frames are not read here: once both sides have said 101, relay.c carries
 * them between the client and the shim.
 */
#include "routes.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "b64.h"
#include "cleanup.h"
#include "clock.h"
#include "gateway.h"
#include "id.h"
#include "json.h"
#include "keyring.h"
#include "mem.h"
#include "query.h"
#include "relay.h"
#include "request.h"
#include "respond.h"
#include "secret.h"
#include "session_call.h"
#include "spec.h"
#include "store.h"

#define GUID        "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 */
#define COMPATIBLE  "unsandbox-shell"
#define NATIVE      "unfarm.term.v1"
#define TICKET_WORD "ticket."

enum {
	TICKET = 24, /* random bytes */
	TICKET_S = 30,
	TICKET_MAX_S = 300,
	KEY_LEN = 24, /* base64 of 16 bytes */
	ACCEPT_LEN = 29,
	COLS_MAX = 1000,
};

struct attach {
	struct session_call call; /* first: the request's call is this */
	char accept[ACCEPT_LEN];
	const char *protocol; /* a literal; "" for none */
	char ticket[2 * TICKET + 1];
	char bound[64]; /* the session that its ticket is for, or "" */
};

/* ---- the handshake ---- */

static bool
has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	while (list && *list) {
		size_t len;

		list += strspn(list, ", \t");
		len = strcspn(list, ", \t");
		if (len == n && strncasecmp(list, word, n) == 0)
			return true;
		list += len;
	}
	return false;
}

static void
accept_key(const char *key, char ret_accept[ACCEPT_LEN])
{
	unsigned char hash[SHA_DIGEST_LENGTH];
	char text[KEY_LEN + sizeof(GUID)];

	(void)snprintf(text, sizeof(text), "%.*s%s", KEY_LEN, key, GUID);
	(void)SHA1((const unsigned char *)text, strlen(text), hash);
	b64_encode_to(ret_accept, hash, sizeof(hash));
}

static int
check_handshake(struct request *req, struct err *err)
{
	const struct header *h = req->headers;
	const char *key = h[HEADER_WEBSOCKET_KEY].value;

	if (h[HEADER_UPGRADE].count != 1 ||
	    strcasecmp(h[HEADER_UPGRADE].value, "websocket") != 0) {
		respond_header(req, "Upgrade", "websocket");
		return err_set(err, ERR_UPGRADE, 0,
		    "this is a WebSocket: send Upgrade: websocket");
	}
	if (!key || strlen(key) != KEY_LEN ||
	    h[HEADER_WEBSOCKET_VERSION].count != 1 ||
	    strcmp(h[HEADER_WEBSOCKET_VERSION].value, "13") != 0)
		return err_set(err, ERR_INVALID, 0,
		    "the WebSocket handshake is malformed: version 13 and a "
		    "key of 16 bytes are needed");
	return 0;
}

/* Browsers send it; other clients may send anything. */
static int
check_origin(const struct request *req, struct err *err)
{
	const char *allowed = req->gw->set.gateway_origins;
	const char *origin = req->headers[HEADER_ORIGIN].value;

	if (!*allowed || !origin || has_word(allowed, origin))
		return 0;
	return err_set(err, ERR_FORBIDDEN, 0,
	    "pages of this origin may not attach: gateway.origins lists those "
	    "that may");
}

/* ---- with the shim ---- */

static void
take_over(struct attach *a)
{
	struct session_call *c = &a->call;
	char *read;
	size_t len;
	int fd = node_call_take(c->asked, &read, &len);

	c->asked = NULL;
	relay_start(c->req, fd, read, len, a->accept, a->protocol);
}

static void
on_answer(void *ctx, const struct node_answer *answer, const struct err *err)
{
	struct attach *a = ctx;

	if (err) {
		a->call.asked = NULL;
		respond_err(a->call.req, err);
	} else if (answer->status == 101) {
		take_over(a);
	} else {
		a->call.asked = NULL;
		session_call_show_as_is(&a->call, answer);
	}
}

static void
refuse(struct attach *a)
{
	struct err err;

	(void)err_set(&err, ERR_KEY, 0,
	    "attach with a signature, with a ticket that was not used, or with "
	    "the session's id where that is allowed");
	respond_err(a->call.req, &err);
}

static void
ask(struct session_call *c)
{
	const struct node_hooks hooks = { c, on_answer };
	struct err err;

	json_set_str(c->head, "session", c->id);
	if (c->node && strcmp(c->state, "lost") != 0) {
		c->asked = node_call_start(
		    c->req->gw, c->node, c->head, "", 0, &hooks);
		return;
	}
	(void)err_set(&err, ERR_NOT_FOUND, 0,
	    "Session not found: it was lost with its node");
	respond_err(c->req, &err);
}

static void
found(struct session_call *c)
{
	struct attach *a = (struct attach *)c;

	if (*a->bound && strcmp(a->bound, c->id) != 0)
		refuse(a);
	else
		ask(c);
}

/* ---- who it is ---- */

/* Who only looks lets nothing go on. */
static void
find(struct attach *a, const char *key)
{
	struct session_call *c = &a->call;

	if (!json_is_true(json_object_get(c->head, "readonly")))
		(void)snprintf(c->wish, sizeof(c->wish), "thaw");
	session_call_find(c, key);
}

static void
on_owner(void *ctx, const redisReply *r, const struct err *err)
{
	struct attach *a = ctx;
	const char *key = store_reply_str(r, "");
	struct err why;

	if (err) {
		respond_err(a->call.req, err);
	} else if (!*key) {
		(void)err_set(&why, ERR_NOT_FOUND, 0, "Session not found");
		respond_err(a->call.req, &why);
	} else {
		find(a, key);
	}
}

/* "KEY ROLE SESSION", once. */
static void
on_ticket(void *ctx, const redisReply *r, const struct err *err)
{
	struct attach *a = ctx;
	char key[64], role[4];

	if (err) {
		respond_err(a->call.req, err);
		return;
	}
	if (sscanf(store_reply_str(r, ""), "%63s %3s %63s", key, role,
		a->bound) != 3) {
		refuse(a);
		return;
	}
	if (strcmp(role, "ro") == 0)
		json_set_bool(a->call.head, "readonly", true);
	find(a, key);
}

static void
hash_of(const char *ticket, char ret_hex[SECRET_SIG_LEN + 1])
{
	secret_sha256(ticket, strlen(ticket), ret_hex);
}

static void
identify(struct attach *a)
{
	struct request *req = a->call.req;
	char hash[SECRET_SIG_LEN + 1];

	if (req->key) {
		find(a, req->key->key.public_key);
	} else if (*a->ticket) {
		hash_of(a->ticket, hash);
		store_command(req->gw->store, on_ticket, a,
		    "GETDEL %sticket:%s", store_prefix(req->gw->store), hash);
	} else if (req->gw->set.gateway_session_id_auth) {
		store_eval_str(req->gw->store, STORE_session_open, on_owner, a,
		    a->call.id, NULL);
	} else {
		refuse(a);
	}
}

/* ---- what it wants ---- */

static void
copy_word(char *to, size_t size, const char *from)
{
	size_t n = strcspn(from, ", \t");

	if (n >= size)
		n = 0; /* none of ours is as long */
	memcpy(to, from, n);
	to[n] = '\0';
}

/* Browsers can send a ticket only here: "unfarm.term.v1, ticket.<hex>". */
static void
read_protocol(struct attach *a)
{
	const char *list = a->call.req->headers[HEADER_WEBSOCKET_PROTOCOL].value;
	const char *ticket = list ? strstr(list, TICKET_WORD) : NULL;

	a->protocol = has_word(list, NATIVE)       ? NATIVE
		      : has_word(list, COMPATIBLE) ? COMPATIBLE
						   : "";
	json_set_str(a->call.head, "protocol", a->protocol);
	if (ticket)
		copy_word(
		    a->ticket, sizeof(a->ticket), ticket + strlen(TICKET_WORD));
}

static int
read_query(struct attach *a, struct err *err)
{
	static const char *const numbers[] = { "cols", "rows" };
	const struct query *q = &a->call.req->query;
	auto_free char *ticket = query_get(q, "ticket", err);
	auto_free char *client = query_get(q, "client", err);
	auto_free char *role = query_get(q, "role", err);
	auto_free char *since = query_get(q, "since", err);
	auto_free char *screen = query_get(q, "screen", err);
	long v;

	if (ticket)
		copy_word(a->ticket, sizeof(a->ticket), ticket);
	if (client)
		json_set_str(a->call.head, "client", client);
	if (role && strcmp(role, "ro") == 0)
		json_set_bool(a->call.head, "readonly", true);
	if (screen && strcmp(screen, "1") == 0)
		json_set_bool(a->call.head, "screen", true);
	if (since && since[strspn(since, "0123456789")] == '\0' && *since)
		json_set_int(a->call.head, "since", strtoll(since, NULL, 10));
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		if (query_get_int(q, numbers[i], COLS_MAX, &v, err) == 1)
			json_set_int(a->call.head, numbers[i], v);
	return 0;
}

static int
handle(struct request *req, struct err *err)
{
	struct attach *a;

	if (check_handshake(req, err) < 0 || check_origin(req, err) < 0)
		return -1;
	a = xcalloc(1, sizeof(*a));
	session_call_init(&a->call, req, "attach");
	request_path_id(req, a->call.id, sizeof(a->call.id));
	a->call.found = found;
	accept_key(req->headers[HEADER_WEBSOCKET_KEY].value, a->accept);
	read_protocol(a);
	if (read_query(a, err) < 0)
		return -1;
	identify(a);
	return 0;
}

const struct route route_session_attach = {
	.method = "GET",
	.path = "/sessions/{id}/shell",
	.scope = AUTH_MAYBE,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "WebSocket to the terminal of a session",
	.handle = handle,
};

/* ---- tickets ---- */

struct ticket {
	struct session_call call; /* first */
	char text[2 * TICKET + 1];
	long long seconds;
	char role[4];
};

static void
on_kept(void *ctx, const redisReply *r, const struct err *err)
{
	struct ticket *t = ctx;
	json_auto_t *o = json_object();
	char at[CLOCK_ISO_LEN];

	(void)r;
	if (err) {
		respond_err(t->call.req, err);
		return;
	}
	clock_iso8601(clock_wall_ms() + t->seconds * 1000, at);
	json_set_str(o, "ticket", t->text);
	json_set_str(o, "session_id", t->call.id);
	json_set_str(o, "role", t->role);
	json_set_str(o, "expires_at", at);
	respond_json(t->call.req, 200, o);
}

static void
keep_ticket(struct session_call *c)
{
	struct ticket *t = (struct ticket *)c;
	struct store *store = c->req->gw->store;
	char hash[SECRET_SIG_LEN + 1], value[192];

	id_random_hex(t->text, TICKET);
	hash_of(t->text, hash);
	(void)snprintf(value, sizeof(value), "%s %s %s",
	    c->req->key->key.public_key, t->role, c->id);
	store_command(store, on_kept, t, "SET %sticket:%s %s EX %lld",
	    store_prefix(store), hash, value, t->seconds);
}

static int
handle_ticket(struct request *req, struct err *err)
{
	json_auto_t *o = spec_object(req->body.data, req->body.len, err);
	const char *role = "rw";
	struct ticket *t;
	long long seconds = TICKET_S;

	if (!o || json_get_str(o, "role", &role, NULL, err) < 0 ||
	    json_get_int(o, "ttl", 1, TICKET_MAX_S, &seconds, err) < 0)
		return -1;
	if (strcmp(role, "rw") != 0 && strcmp(role, "ro") != 0)
		return err_set(err, ERR_INVALID, 0, "`role` must be rw or ro");
	t = xcalloc(1, sizeof(*t));
	session_call_init(&t->call, req, "");
	request_path_id(req, t->call.id, sizeof(t->call.id));
	(void)snprintf(t->role, sizeof(t->role), "%s", role);
	t->seconds = seconds;
	t->call.found = keep_ticket;
	session_call_find(&t->call, req->key->key.public_key);
	return 0;
}

const struct route route_session_ticket = {
	.method = "POST",
	.path = "/sessions/{id}/tickets",
	.scope = AUTH_SIGNED,
	.max_body = ROUTE_BODY_SMALL,
	.summary = "A ticket to attach once, for browsers and guests",
	.handle = handle_ticket,
};

#pragma once
/*
 * gateway.h - the one struct of a gateway process: built in main(), passed
 * down, freed in main().  Everything runs on its loop, in one thread.
 */
#include <stdbool.h>
#include <sys/queue.h>
#include <uv.h>

#include "metrics.h"
#include "prefork.h"
#include "secret.h"
#include "settings.h"

/* Our id is 8 random bytes in hex; the scripts tell us on "done:<id>". */
enum { GATEWAY_ID_MAX = 17 };

struct gateway {
	struct settings set;
	char id[GATEWAY_ID_MAX];
	uv_loop_t loop;
	struct secret_master master;
	struct lang_registry *langs;
	/*
	 * Those before the reloads, owned: requests under way point into them.
	 * A reload is rare and costs about a megabyte, so they go at the end.
	 */
	struct lang_registry **old_langs;
	size_t n_old_langs;
	struct store *store;  /* calls */
	struct store *events; /* subscriptions */
	struct keyring *keyring;
	struct farm *farm;
	struct waiters *waiters;
	struct server *server;
	struct prefork prefork;
	struct metrics *metrics; /* ours of prefork's */
	TAILQ_HEAD(node_call_list, node_call) node_calls;
	TAILQ_HEAD(relay_list, relay) relays;
	TAILQ_HEAD(stream_list, stream) streams;
	size_t answer_bytes; /* of nodes' answers that are not passed on */
	size_t body_bytes;   /* of all requests that are open */
	bool draining;       /* answers close their connections */
};

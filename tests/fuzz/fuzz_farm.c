/* What the workers say of themselves, as the gateway reads it from Redis. */
#include <hiredis/hiredis.h>
#include <string.h>

#include "farm.h"
#include "fuzz.h"
#include "lang.h"

enum { EACH_MAX = 1000000000 };

static void
check_nodes(const struct farm_view *v)
{
	const long most = EACH_MAX * (long)v->n_workers;

	must(v->n_nodes <= v->n_workers);
	for (size_t i = 0; i < v->n_nodes; i++) {
		const struct farm_node *n = &v->nodes[i];

		must(memchr(n->name, '\0', sizeof(n->name)));
		must(n->slots >= 0 && n->slots <= most);
		must(n->busy >= 0 && n->ready >= 0 && n->spawning >= 0);
		must(n->max_vcpu >= 0 && n->max_vcpu <= v->max_vcpu);
	}
	must(v->slots >= 0 && v->slots <= most);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct lang_registry *langs = fuzz_langs();
	struct feed f = { data, size };
	redisReply *r = fuzz_reply(&f, 0);
	struct farm_view v = { .read_ms = 0 };
	size_t can = 0;

	farm_view_read(&v, langs, r);
	check_nodes(&v);
	for (size_t i = 0; i < lang_count(langs); i++)
		can += v.languages[i];
	must(can == v.n_languages);
	/* They become names of metrics. */
	for (size_t i = 0; i < v.n_stats; i++)
		must(
		    *v.stats[i].name && !v.stats[i].name[strspn(v.stats[i].name,
					    "abcdefghijklmnopqrstuvwxyz_")]);
	farm_view_done(&v);
	freeReplyObject(r);
	return 0;
}

/* The HTTP surface, in the order that --routes and docs/api.md show it. */
#include "routes.h"

#include "attr.h"

const struct route *const route_table[] = {
	&route_job_execute,
	&route_job_execute_async,
	&route_job_run,
	&route_job_run_async,
	&route_job_list,
	&route_job_read,
	&route_job_wait,
	&route_job_delete,
	&route_job_cancel,
	&route_session_create,
	&route_session_list,
	&route_session_read,
	&route_session_resize,
	&route_session_end,
	&route_session_freeze,
	&route_session_unfreeze,
	&route_session_boost,
	&route_session_unboost,
	&route_session_attach,
	&route_session_shell,
	&route_session_execute,
	&route_session_ticket,
	&route_language_list,
	&route_shell_list,
	&route_health_read,
	&route_ready_read,
	&route_cluster_read,
	&route_pool_list,
	&route_stats_read,
	&route_stats_system_stats,
	&route_stats_system,
	&route_stats_pool,
	&route_stats_status,
	&route_metrics_read,
	&route_key_validate,
};
const size_t route_table_len = ARRAY_LEN(route_table);

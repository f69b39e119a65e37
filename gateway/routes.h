#pragma once
/* routes.h - the records that route_table.c lists, one file each or a family. */
#include "route.h"

extern const struct route route_job_execute, route_job_execute_async;
extern const struct route route_job_run, route_job_run_async;
extern const struct route route_job_list;
extern const struct route route_job_read, route_job_wait;
extern const struct route route_job_delete, route_job_cancel;
extern const struct route route_language_list, route_shell_list;
extern const struct route route_health_read, route_ready_read;
extern const struct route route_cluster_read, route_pool_list;
extern const struct route route_stats_read, route_stats_system_stats,
    route_stats_system, route_stats_pool, route_stats_status;
extern const struct route route_metrics_read;
extern const struct route route_session_create, route_session_list,
    route_session_read, route_session_resize, route_session_end,
    route_session_freeze, route_session_unfreeze, route_session_boost,
    route_session_unboost, route_session_attach, route_session_shell,
    route_session_execute, route_session_ticket;
extern const struct route route_key_validate;

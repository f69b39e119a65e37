/*
 * bench-hello - the least that libmicrohttpd can do: "hello" to everybody.
 *
 *	bench-hello
 *
 * One thread and one epoll descriptor, as a gateway has.  Prints the port that
 * it listens on (127.0.0.1) and serves until its standard input ends.
 */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum MHD_Result
on_request(void *cls, struct MHD_Connection *conn, const char *url,
    const char *method, const char *version, const char *upload_data,
    size_t *upload_data_size, void **req)
{
	(void)url;
	(void)method;
	(void)version;
	(void)upload_data;
	(void)upload_data_size;
	(void)req;
	return MHD_queue_response(conn, MHD_HTTP_OK, cls);
}

int
main(void)
{
	static char hello[] = "hello\n";
	struct sockaddr_in where = { .sin_family = AF_INET };
	const union MHD_DaemonInfo *port;
	struct MHD_Response *answer;
	struct MHD_Daemon *d;
	char c;

	where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	answer = MHD_create_response_from_buffer(
	    sizeof(hello) - 1, hello, MHD_RESPMEM_PERSISTENT);
	d = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TURBO, 0,
	    NULL, NULL, on_request, answer, MHD_OPTION_SOCK_ADDR, &where,
	    MHD_OPTION_END);
	port = d ? MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT) : NULL;
	if (!port) {
		(void)fputs("bench-hello: cannot listen\n", stderr);
		return 71;
	}
	(void)printf("%u\n", (unsigned)port->port);
	(void)fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	MHD_stop_daemon(d);
	MHD_destroy_response(answer);
	return 0;
}

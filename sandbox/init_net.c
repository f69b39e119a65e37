/*
 * init_net.c - the network namespace of a nest, which its sandboxes share, one
 * after the other, as long as nothing of one could be met by the next.
 *
 * Making one and taking it down costs more than all else of a sandbox's birth,
 * and few programs use it.  What a program can leave behind comes from packets
 * (connections that wait for their end, counters, metrics and errors of routes)
 * or from a socket that is still there; what needs rights over the namespace
 * it cannot do: those belong to the nest.  So before each birth we look whether
 * the kernel counts a socket here, and whether each of its tables and counters
 * reads as before the first one.  If not, the nest moves to a new namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "init.h"

enum { TEXT_ROOM = 8192 };

/* Of /proc/self/net; what a kernel does not have reads as nothing. */
static const char *const tables[] = { "dev", "snmp", "snmp6", "netstat", "igmp",
	"igmp6", "ip6_flowlabel", "ipv6_route", "rt6_stats",
	"/proc/sys/net/ipv4/tcp_fastopen_key" };

static struct {
	bool open;
	int sockets; /* sockstat */
	int fds[ARRAY_LEN(tables)];
	char before[ARRAY_LEN(tables)][TEXT_ROOM];
	size_t len[ARRAY_LEN(tables)];
} net;

/* Files of /proc/sys/net, and the digit that each is set to. */
static const struct {
	const char *path;
	char value;
	bool optional; /* a kernel may have no IPv6 */
} settings[] = {
	/* Root of a sandbox is not root here, and may listen on any port. */
	{ "ipv4/ip_unprivileged_port_start", '0', false },
	/*
	 * The protocols of today announce by a timer, up to a second later,
	 * that a group was left; with the ones before, nothing that we could
	 * not see outlives a membership (Linux net/ipv4/igmp.c,
	 * igmp_group_dropped; net/ipv6/mcast.c, igmp6_group_dropped).
	 */
	{ "ipv4/conf/lo/force_igmp_version", '2', false },
	{ "ipv6/conf/lo/force_mld_version", '1', true },
};

static int
apply_settings(void)
{
	char path[96];

	for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
		auto_close int fd = -1;

		(void)snprintf(
		    path, sizeof(path), "/proc/sys/net/%s", settings[i].path);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT && settings[i].optional)
			continue;
		if (fd < 0 || write(fd, &settings[i].value, 1) != 1)
			return -1;
	}
	return 0;
}

int
init_net_up(void)
{
	struct ifreq ifr = { .ifr_flags = IFF_UP | IFF_RUNNING };
	auto_close int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "lo");
	/* Before there is anything to announce. */
	if (sock < 0 || apply_settings() < 0)
		return -1;
	return ioctl(sock, SIOCSIFFLAGS, &ifr);
}

static int
open_table(const char *name)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "%s%s",
	    *name == '/' ? "" : "/proc/self/net/", name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* The whole of it; more than has room counts as a change. */
static size_t
read_table(int fd, char text[TEXT_ROOM])
{
	size_t len = 0;
	ssize_t n;

	while (fd >= 0 && len < TEXT_ROOM &&
	       (n = pread(fd, text + len, TEXT_ROOM - len, (off_t)len)) > 0)
		len += (size_t)n;
	return len;
}

static void
remember(void)
{
	net.sockets = open_table("sockstat");
	for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
		net.fds[i] = open_table(tables[i]);
		net.len[i] = read_table(net.fds[i], net.before[i]);
	}
	net.open = true;
}

static void
forget(void)
{
	(void)close(net.sockets);
	for (size_t i = 0; i < ARRAY_LEN(tables); i++)
		(void)close(net.fds[i]);
	net.open = false;
}

/* Of any kind, in this namespace. */
static bool
has_sockets(void)
{
	static const char none[] = "sockets: used 0\n";
	char text[sizeof(none)];
	ssize_t n = pread(net.sockets, text, sizeof(none) - 1, 0);

	return n != (ssize_t)sizeof(none) - 1 ||
	       memcmp(text, none, sizeof(none) - 1) != 0;
}

static bool
was_used(void)
{
	static char now[TEXT_ROOM];

	if (has_sockets())
		return true;
	for (size_t i = 0; i < ARRAY_LEN(tables); i++)
		if (net.len[i] == TEXT_ROOM ||
		    read_table(net.fds[i], now) != net.len[i] ||
		    memcmp(now, net.before[i], net.len[i]) != 0)
			return true;
	return false;
}

int
init_net_clean(struct err *err)
{
	if (!net.open)
		remember();
	if (!was_used())
		return 0;
	/* Until that worked, the old one is what the next birth finds used. */
	if (unshare(CLONE_NEWNET) < 0 || init_net_up() < 0)
		return err_errno(err, "new network namespace");
	forget();
	remember();
	return 0;
}

void
init_net_leave(void)
{
	forget();
}

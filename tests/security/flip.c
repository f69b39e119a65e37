/*
 * flip SECONDS FOLDER SECRET: runs in a sandbox and swaps names against each
 * other as fast as it can: files of ours with links to SECRET, FIFOs, devices
 * and folders; folders with links to folders that have files of the same names;
 * FOLDER itself with a link to /etc.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { NAMES = 48, FOLDERS = 8, PROCESSES = 6 };

static void
own(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, "own\n", 4) != 4)
		exit(2);
	(void)close(fd);
}

/* What stands beside the file number i; never a regular file of this folder. */
static void
other(int i, const char *path, const char *secret)
{
	static const char *const links[] = { "/etc/passwd", "/etc/group",
		"/proc/self/environ", "/proc/1/environ", "/dev/zero", "/etc",
		"/proc/self/root/etc/passwd", "/proc/1/exe" };
	int r;

	if (i % 12 == 0)
		r = mkfifo(path, 0666);
	else if (i % 12 == 1)
		r = mkdir(path, 0755);
	else if (i % 12 == 2)
		r = symlink(secret, path);
	else
		r = symlink(links[i % 8], path);
	if (r < 0)
		exit(3);
}

static void
make(const char *folder, const char *secret)
{
	char a[PATH_MAX], b[PATH_MAX];

	if (mkdir("/tmp/beside", 0755) < 0 || mkdir("/tmp/new", 0755) < 0 ||
	    symlink("/etc", "/tmp/beside/whole") < 0)
		exit(4);
	for (int i = 0; i < NAMES; i++) {
		(void)snprintf(a, sizeof(a), "/tmp/new/f%d", i);
		(void)snprintf(b, sizeof(b), "/tmp/beside/f%d", i);
		own(a);
		other(i, b, secret);
	}
	for (int i = 0; i < FOLDERS; i++) {
		(void)snprintf(a, sizeof(a), "/tmp/new/d%d", i);
		(void)snprintf(b, sizeof(b), "/tmp/beside/d%d", i);
		if (mkdir(a, 0755) < 0 || symlink("/etc", b) < 0)
			exit(5);
		(void)snprintf(a, sizeof(a), "/tmp/new/d%d/passwd", i);
		own(a);
	}
	/* At once: nobody sees a file before it has its content. */
	if (rename("/tmp/new", folder) < 0)
		exit(6);
}

static void
swap(const char *a, const char *b)
{
	(void)renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}

static void
flip(int me, const char *folder)
{
	char a[PATH_MAX], b[PATH_MAX];

	for (unsigned n = (unsigned)me;; n++) {
		unsigned i = n * 7 % (NAMES + FOLDERS);

		if (me == 0 && n % 1024 == 0) {
			swap(folder, "/tmp/beside/whole");
			swap(folder, "/tmp/beside/whole");
		}
		(void)snprintf(a, sizeof(a), "%s/%c%u", folder,
		    i < NAMES ? 'f' : 'd', i < NAMES ? i : i - NAMES);
		(void)snprintf(b, sizeof(b), "/tmp/beside/%c%u",
		    i < NAMES ? 'f' : 'd', i < NAMES ? i : i - NAMES);
		swap(a, b);
	}
}

int
main(int argc, char **argv)
{
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 0;

	if (argc != 4)
		return 64;
	make(argv[2], argv[3]);
	for (int i = 0; i < PROCESSES; i++)
		if (fork() == 0)
			flip(i, argv[2]);
	(void)usleep((useconds_t)(seconds * 1e6));
	return 0;
}

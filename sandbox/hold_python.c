/*
 * hold_python.c - Python held in a nest: its last steps before it is forked,
 * and the end of its forks.
 *
 * At its end Python destroys every object there is, and so writes to nearly
 * every page that a fork shares with its nest: some 1,100 page faults, four
 * fifths of a small job's time.  Nobody can see that, unless one of the
 * program's objects does something when it is destroyed.  Therefore
 * Py_FinalizeEx() is led to finalize() here.  It does what can be seen
 * (threads, exit functions, flushing) and looks at the objects that the program
 * made; if one could do something, or in any doubt, the real one runs.  It
 * finds everything as it would have been: what was done here is not done twice.
 *
 * Python's functions are looked up by name, so that one library serves any
 * version and any other interpreter.  Of objects nothing is known here but the
 * place of their type, which has not changed in Python 3.
 */
#include "hold_python.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "attr.h"
#include "cleanup.h"

/* Python's own words, with its types as far as they matter here. */
#define FUNCTIONS(F)                                                           \
	F(int, PyGILState_Ensure, (void))                                      \
	F(void, PyGILState_Release, (int))                                     \
	F(int, PyRun_SimpleString, (const char *))                             \
	F(void *, PyImport_ImportModule, (const char *))                       \
	F(void *, PyImport_GetModuleDict, (void)) /* borrowed */               \
	F(void *, PyModule_GetFilenameObject, (void *))                        \
	F(void *, PyDict_GetItemString, (void *, const char *)) /* borrowed */ \
	F(void *, PyObject_GetAttrString, (void *, const char *))              \
	F(void *, PyObject_CallObject, (void *, void *))                       \
	F(void *, PyObject_Type, (void *))                                     \
	F(long, PyLong_AsLong, (void *))                                       \
	F(void *, PyList_New, (long))                                          \
	F(long, PyList_Size, (void *))                                         \
	F(void *, PyList_GetItem, (void *, long))  /* borrowed */              \
	F(void *, PySys_GetObject, (const char *)) /* borrowed */              \
	F(void *, PyEval_GetFrame, (void))         /* borrowed */              \
	F(int, PyType_IsSubtype, (void *, void *))                             \
	F(void *, PyType_GetSlot, (void *, int))                               \
	F(const char *, PyUnicode_AsUTF8, (void *))                            \
	F(void, PyErr_Clear, (void))                                           \
	F(void, PyErr_WriteUnraisable, (void *))                               \
	F(void, Py_DecRef, (void *))                                           \
	F(void *, PyInterpreterState_Get, (void))                              \
	F(void *, PyInterpreterState_Head, (void))                             \
	F(void *, PyInterpreterState_Next, (void *))                           \
	F(void *, PyInterpreterState_ThreadHead, (void *))                     \
	F(void *, PyThreadState_Next, (void *))                                \
	F(int, Py_FinalizeEx, (void))

/* Objects, not functions. */
#define OBJECTS(O)                                                             \
	O(PyType_Type)                                                         \
	O(PyModule_Type)                                                       \
	O(PyFunction_Type)                                                     \
	O(PyCFunction_Type)                                                    \
	O(_PyWeakref_RefType)                                                  \
	O(_Py_NoneStruct)

static struct {
#define FUNCTION(type, name, args) type(*name) args;
	FUNCTIONS(FUNCTION)
#undef FUNCTION
#define OBJECT(name) void *name;
	OBJECTS(OBJECT)
#undef OBJECT
} py;

/* Numbers of the stable ABI (Include/typeslots.h). */
enum { SLOT_DEL = 53, SLOT_FINALIZE = 80 };

static bool
find_python(void)
{
	static const struct {
		const char *name;
		size_t at;
	} all[] = {
#define FUNCTION(type, name, args) { #name, offsetof(__typeof__(py), name) },
		FUNCTIONS(FUNCTION)
#undef FUNCTION
#define OBJECT(name) { #name, offsetof(__typeof__(py), name) },
		    OBJECTS(OBJECT)
#undef OBJECT
	};

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		void *found = dlsym(RTLD_DEFAULT, all[i].name);

		if (!found)
			return false;
		memcpy((char *)&py + all[i].at, (void *)&found, sizeof(found));
	}
	return true;
}

/* ---- as it was when it was held ---- */

static struct {
	void *run_exit_functions; /* atexit._run_exitfuncs */
	void *out, *err;          /* sys.stdout, sys.stderr */
	/* of the module gc */
	void *collect, *freeze, *unfreeze, *get_objects, *get_debug, *callbacks;
	void *young; /* the first object that was not frozen */
} held;

static void *
attribute(const char *module, const char *name)
{
	void *m = py.PyImport_ImportModule(module), *found = NULL;

	if (m)
		found = py.PyObject_GetAttrString(m, name);
	py.Py_DecRef(m);
	return found;
}

/* What a function without arguments returns as number; -1: none. */
static long
call_for_number(void *function)
{
	void *r = py.PyObject_CallObject(function, NULL);
	long n = r ? py.PyLong_AsLong(r) : -1;

	py.Py_DecRef(r);
	if (n < 0)
		py.PyErr_Clear();
	return n;
}

static bool
look_around(void)
{
	const struct {
		const char *module, *name;
		void **to;
	} all[] = {
		{ "atexit", "_run_exitfuncs", &held.run_exit_functions },
		{ "sys", "stdout", &held.out },
		{ "sys", "stderr", &held.err },
		{ "gc", "collect", &held.collect },
		{ "gc", "freeze", &held.freeze },
		{ "gc", "unfreeze", &held.unfreeze },
		{ "gc", "get_objects", &held.get_objects },
		{ "gc", "get_debug", &held.get_debug },
		{ "gc", "callbacks", &held.callbacks },
	};

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		*all[i].to = attribute(all[i].module, all[i].name);
		if (!*all[i].to) {
			py.PyErr_Clear();
			return false;
		}
	}
	return true;
}

/* ---- may any object do something when it is destroyed? ---- */

enum verdict { UNKNOWN, HARMLESS, ACTS, IS_CLASS, IS_WEAKREF, IS_MODULE };

static bool
has_finalizer(void *type)
{
	return py.PyType_GetSlot(type, SLOT_FINALIZE) ||
	       py.PyType_GetSlot(type, SLOT_DEL);
}

static enum verdict
judge(void *type)
{
	if (has_finalizer(type))
		return ACTS;
	if (py.PyType_IsSubtype(type, py.PyType_Type))
		return IS_CLASS;
	if (type == py._PyWeakref_RefType)
		return IS_WEAKREF;
	if (py.PyType_IsSubtype(type, py._PyWeakref_RefType))
		return ACTS; /* who knows what it does with its callback */
	if (py.PyType_IsSubtype(type, py.PyModule_Type))
		return IS_MODULE;
	return HARMLESS;
}

/* Most objects are of few types. */
static enum verdict
judge_cached(void *type)
{
	static struct {
		void *type;
		enum verdict verdict;
	} cache[256];
	size_t i = ((uintptr_t)type >> 5) % ARRAY_LEN(cache);

	if (cache[i].type != type) {
		cache[i].type = type;
		cache[i].verdict = judge(type);
	}
	return cache[i].verdict;
}

static void *
type_of(void *object)
{
	return ((void **)object)[1];
}

static bool
text_is(void *text, const char *expected)
{
	const char *s = text ? py.PyUnicode_AsUTF8(text) : NULL;

	return s && strcmp(s, expected) == 0;
}

/* What abstract base classes, thread locals and weakref.py tidy up with. */
static bool
callback_is_known(void *callback)
{
	bool builtin = type_of(callback) == py.PyCFunction_Type;
	void *name;
	bool ok;

	if (!builtin && type_of(callback) != py.PyFunction_Type)
		return false;
	name = py.PyObject_GetAttrString(
	    callback, builtin ? "__name__" : "__module__");
	if (builtin)
		ok = text_is(name, "_destroy") ||
		     text_is(name, "_localdummy_destroyed");
	else
		ok = text_is(name, "weakref") || text_is(name, "_weakrefset");
	py.Py_DecRef(name);
	return ok;
}

static bool
weakref_is_harmless(void *ref)
{
	void *callback = py.PyObject_GetAttrString(ref, "__callback__");
	bool ok = callback && (callback == py._Py_NoneStruct ||
				  callback_is_known(callback));

	py.Py_DecRef(callback);
	return ok;
}

/*
 * A library may do anything at its end, but for these of Python's own, whose
 * objects leave nothing behind.
 */
static bool
library_is_harmless(const char *path)
{
	static const char *const known[] = { "_bz2", "_contextvars", "_decimal",
		"_hashlib", "_json", "_lzma", "_queue", "_typing", "_uuid",
		"resource" };
	const char *dir = strstr(path, "/lib-dynload/");
	const char *name = dir ? strrchr(dir, '/') + 1 : "";

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		size_t n = strlen(known[i]);

		if (strncmp(name, known[i], n) == 0 && name[n] == '.')
			return true;
	}
	return false;
}

static bool
module_is_harmless(void *module)
{
	static const char ending[] = ".so";
	void *path = py.PyModule_GetFilenameObject(module);
	const char *s = path ? py.PyUnicode_AsUTF8(path) : NULL;
	size_t n = s ? strlen(s) : 0;
	bool ok = n < sizeof(ending) ||
		  strcmp(s + n - (sizeof(ending) - 1), ending) != 0 ||
		  library_is_harmless(s);

	py.PyErr_Clear();
	py.Py_DecRef(path);
	return ok;
}

static bool
is_harmless(void *object)
{
	switch (judge_cached(type_of(object))) {
	case HARMLESS:
		return true;
	case IS_CLASS: /* there may be objects that are not in the list */
		return !has_finalizer(object);
	case IS_WEAKREF:
		return weakref_is_harmless(object);
	case IS_MODULE:
		return module_is_harmless(object);
	default:
		return false;
	}
}

/*
 * All that the program made: what is older is frozen, and not in the list.  If
 * the first one is not in it, too, the program itself froze what there was.
 */
static bool
objects_are(bool (*good)(void *))
{
	void *all = py.PyObject_CallObject(held.get_objects, NULL);
	long n = all ? py.PyList_Size(all) : 0;
	bool ok = true, complete = false;

	for (long i = 0; i < n && ok; i++) {
		void *object = py.PyList_GetItem(all, i);

		complete |= object == held.young;
		ok = good(object);
	}
	py.PyErr_Clear();
	py.Py_DecRef(all);
	return ok && complete;
}

static bool
is_alone(void)
{
	void *all = py.PyInterpreterState_Head();
	void *threads = py.PyInterpreterState_ThreadHead(
	    py.PyInterpreterState_Get());

	return !py.PyInterpreterState_Next(all) &&
	       !py.PyThreadState_Next(threads);
}

static bool
is_unchanged(void)
{
	return py.PySys_GetObject("stdout") == held.out &&
	       py.PySys_GetObject("stderr") == held.err &&
	       py.PyList_Size(held.callbacks) == 0 &&
	       call_for_number(held.get_debug) == 0;
}

/* ---- the end ---- */

static bool
call_method(void *object, const char *name)
{
	void *method = py.PyObject_GetAttrString(object, name);
	void *r = method ? py.PyObject_CallObject(method, NULL) : NULL;

	py.Py_DecRef(method);
	py.Py_DecRef(r);
	return r != NULL;
}

static void
end_threads(void)
{
	void *threading = py.PyDict_GetItemString(
	    py.PyImport_GetModuleDict(), "threading");

	if (threading && !call_method(threading, "_shutdown"))
		py.PyErr_WriteUnraisable(threading);
}

static void
run_exit_functions(void)
{
	py.Py_DecRef(py.PyObject_CallObject(held.run_exit_functions, NULL));
	py.PyErr_Clear();
}

static bool
flush(void)
{
	bool ok = call_method(held.out, "flush") &&
		  call_method(held.err, "flush");

	py.PyErr_Clear();
	return ok;
}

static int finalize(void);

/* mov $finalize, %rax; jmp *%rax */
enum { JUMP_SIZE = 12 };
static unsigned char real_code[JUMP_SIZE];

static bool
write_code(const unsigned char code[JUMP_SIZE])
{
	unsigned char *at = (unsigned char *)(uintptr_t)py.Py_FinalizeEx;
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t first = (uintptr_t)at & ~(page - 1);
	size_t len = (uintptr_t)at + JUMP_SIZE - first;

	if (mprotect((void *)first, len, PROT_READ | PROT_WRITE | PROT_EXEC) <
	    0)
		return false;
	memcpy(at, code, JUMP_SIZE);
	(void)mprotect((void *)first, len, PROT_READ | PROT_EXEC);
	return true;
}

static bool
is_any(void *object)
{
	return object != NULL;
}

/* The real end is to find what it finds in any Python. */
static void
go_back(void)
{
	if (objects_are(is_any))
		py.Py_DecRef(py.PyObject_CallObject(held.unfreeze, NULL));
	py.PyErr_Clear();
	/* They are flushed when the last reference goes. */
	py.Py_DecRef(held.out);
	py.Py_DecRef(held.err);
}

/* In place of Py_FinalizeEx(), with the interpreter's lock held. */
static int
finalize(void)
{
	end_threads();
	run_exit_functions();
	if (is_alone() && is_unchanged() && objects_are(is_harmless) && flush())
		return 0;
	go_back();
	return write_code(real_code) ? py.Py_FinalizeEx() : -1;
}

static bool
lead_finalize_here(void)
{
#ifdef __x86_64__
	unsigned char jump[JUMP_SIZE] = { 0x48, 0xb8, [10] = 0xff, 0xe0 };
	int (*to)(void) = finalize;

	memcpy(jump + 2, (void *)&to, sizeof(to));
	memcpy(real_code, (void *)(uintptr_t)py.Py_FinalizeEx, JUMP_SIZE);
	return write_code(jump);
#else
	return false;
#endif
}

/* ---- before it is forked ---- */

/* Types are where we look for them, and their slots can be read. */
static bool
is_known(void)
{
	void *type = py.PyObject_Type(held.out);
	bool ok = type_of(held.out) == type && has_finalizer(type);

	py.Py_DecRef(type);
	py.PyErr_Clear();
	return ok;
}

/*
 * What there is now is out of the collector's sight: it would only write to all
 * of it, at each collection.
 */
static void
freeze(void)
{
	py.Py_DecRef(py.PyObject_CallObject(held.collect, NULL));
	py.Py_DecRef(py.PyObject_CallObject(held.freeze, NULL));
	held.young = py.PyList_New(0);
}

static void
run_once(const char *code)
{
	static bool done;

	if (!done)
		(void)py.PyRun_SimpleString(code);
	done = true;
}

/* zipimport is written in Python; the interpreter's own open() is not. */
bool
hold_python_only_looks(const char *code)
{
	bool looks;
	int state;

	if (!find_python())
		return false;
	state = py.PyGILState_Ensure();
	looks = py.PyEval_GetFrame() != NULL;
	if (looks)
		run_once(code);
	py.PyGILState_Release(state);
	return looks;
}

void
hold_python_prepare(const char *code)
{
	int state;

	if (!find_python())
		return;
	state = py.PyGILState_Ensure();
	run_once(code);
	if (look_around() && is_known() && lead_finalize_here())
		freeze();
	py.PyGILState_Release(state);
}

/* ---- a program that is an archive ---- */

/* What ends one is in its last 64 kB. */
static bool
is_archive(const char *program)
{
	static const char mark[] = "PK\5\6";
	static char end[(64 << 10) + 32];
	auto_close int fd = open(program, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
	off_t from = size > (off_t)sizeof(end) ? size - (off_t)sizeof(end) : 0;
	ssize_t n = size > 0 ? pread(fd, end, sizeof(end), from) : 0;

	return n > 0 && memmem(end, (size_t)n, mark, sizeof(mark) - 1);
}

void
hold_python_goes_on(const char *program, char *const *argv)
{
	if (!py.Py_FinalizeEx || !is_archive(program))
		return;
	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	(void)execvp(argv[0], argv);
	_exit(127);
}

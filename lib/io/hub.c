#include "io/hub.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/source.h"

enum { MAX_NAME = 96, MAX_REVISION = 200 };    /* of each half of a name: the hub's own limit */

struct name {
	char org[MAX_NAME + 1], model[MAX_NAME + 1], revision[MAX_REVISION + 1];       /* revision "": none given */
};

/* Copies what stands before one of `ends` if it is a word of the hub: letters, digits, '-', '_', '.', and it begins and ends with a letter or digit. */
static const char *read_word(const char *p, const char *ends, char word[MAX_NAME + 1])
{
	static const char alnum[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", others[] = "-_.";
	size_t n = strcspn(p, ends);

	if (!n || n > MAX_NAME || !strchr(alnum, p[0]) || !strchr(alnum, p[n - 1]))
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (!strchr(alnum, p[i]) && (!strchr(others, p[i]) || (p[i] != '_' && p[i] == p[i - 1])))       /* "--" and ".." have a meaning of their own */
			return NULL;
	memcpy(word, p, n);
	word[n] = 0;
	return p + n;
}

/* A branch or tag may have '/', but leads nowhere else. */
static bool read_revision(const char *p, char revision[MAX_REVISION + 1])
{
	if (!*p || strlen(p) > MAX_REVISION || *p == '/' || *p == '.' || strstr(p, "..") || strstr(p, "//"))
		return false;
	strcpy(revision, p);
	return true;
}

static bool read_name(const char *text, struct name *n)
{
	const char *p = read_word(text, "/", n->org);

	n->revision[0] = 0;
	if (!p || *p != '/' || !(p = read_word(p + 1, "@", n->model)))
		return false;
	return !*p || read_revision(p + 1, n->revision);
}

bool moe_hub_is_name(const char *text)
{
	struct name n;

	return read_name(text, &n);
}

static bool set(const char *value) { return value && *value; }

/* FOLDER/models--ORG--NAME, to be freed; NULL without memory. */
static char *model_folder(const struct moe_hub *h, const struct name *n)
{
	const char *base = set(h->hub_cache) ? h->hub_cache : set(h->hf_home) ? h->hf_home : set(h->xdg_cache) ? h->xdg_cache : set(h->home) ? h->home : ".";
	const char *below = set(h->hub_cache) ? "" : set(h->hf_home) ? "/hub" : set(h->xdg_cache) ? "/huggingface/hub" : "/.cache/huggingface/hub";
	char *path;

	return asprintf(&path, "%s%s/models--%s--%s", base, below, n->org, n->model) < 0 ? NULL : path;
}

/* The commit that refs/REVISION of the folder names; false when there is none. */
static bool read_ref(const char *folder, const char *revision, char commit[MAX_REVISION + 1])
{
	struct moe_diag unread = {0};
	char *path, *text = NULL;
	size_t n;
	bool ok;

	if (asprintf(&path, "%s/refs/%s", folder, revision) < 0)
		return false;
	ok = !moe_read_file(path, MAX_REVISION, &text, &n, &unread);
	free(path);
	if (ok) {
		while (n && strchr(" \t\r\n", text[n - 1]))
			text[--n] = 0;
		ok = read_revision(text, commit) && !strchr(commit, '/');
	}
	free(text);
	return ok;
}

static int visible(const struct dirent *e) { return e->d_name[0] != '.'; }

/* The only snapshot, or the only one whose commit begins with `prefix`. Their number; the name only when it is one. */
static int only_snapshot(const char *folder, const char *prefix, char commit[MAX_REVISION + 1])
{
	struct dirent **e;
	char *path;
	int n, found = 0;

	if (asprintf(&path, "%s/snapshots", folder) < 0)
		return 0;
	n = scandir(path, &e, visible, alphasort);
	for (int i = 0; i < n; i++) {
		if (!strncmp(e[i]->d_name, prefix, strlen(prefix)) && strlen(e[i]->d_name) <= MAX_REVISION) {
			found++;
			strcpy(commit, e[i]->d_name);
		}
		free(e[i]);
	}
	if (n >= 0)
		free(e);
	free(path);
	return found;
}

/* The commit that is meant. */
static enum moe_err choose_commit(const char *folder, const struct name *n, char commit[MAX_REVISION + 1], struct moe_diag *d)
{
	const char *revision = n->revision[0] ? n->revision : "main";
	int found;

	if (read_ref(folder, revision, commit))
		return MOE_OK;
	found = only_snapshot(folder, n->revision, commit);
	if (found == 1 && (!n->revision[0] || strlen(n->revision) >= 7))
		return MOE_OK;
	if (found > 1)
		return moe_fail(d, MOE_EIO, "%s/%s: revision \"%s\" could be %d snapshots in %s: name one as %s/%s@COMMIT", n->org, n->model, revision, found, folder,
				n->org, n->model);
	return moe_fail(d, MOE_EIO, "%s/%s: revision \"%s\" is not in the local cache (%s); `hf download %s/%s%s%s` fetches it", n->org, n->model, revision, folder,
			n->org, n->model, n->revision[0] ? " --revision " : "", n->revision);
}

enum moe_err moe_hub_find(char **directory, const char *text, const struct moe_hub *hub, struct moe_diag *d)
{
	char commit[MAX_REVISION + 1], *folder;
	struct name n;
	enum moe_err err;

	if (!read_name(text, &n))
		return moe_fail(d, MOE_EUSAGE, "\"%s\" is not a name of the form ORG/NAME or ORG/NAME@REVISION", text);
	folder = model_folder(hub, &n);
	if (!folder)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	if (access(folder, F_OK))
		err = moe_fail(d, MOE_EIO, "%s/%s is neither a folder here nor in the local cache of the hub (%s); `hf download %s/%s%s%s` fetches it", n.org, n.model,
			       folder, n.org, n.model, n.revision[0] ? " --revision " : "", n.revision);
	else
		err = choose_commit(folder, &n, commit, d);
	if (!err && asprintf(directory, "%s/snapshots/%s", folder, commit) < 0)
		err = moe_fail(d, MOE_ENOMEM, "out of memory");
	if (!err && access(*directory, F_OK)) {
		err = moe_fail(d, MOE_EIO, "%s is in the cache's list, but its snapshot is not (%s); `hf download %s/%s%s%s` fetches it", text, *directory, n.org, n.model,
			       n.revision[0] ? " --revision " : "", n.revision);
		free(*directory);
		*directory = NULL;
	}
	free(folder);
	return err;
}

#include "run/features.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* One picture's features, in a list with the last used first. */
struct entry {
	struct entry *next;
	XXH128_hash_t key;
	struct moe_patch_grid grid;
	size_t nbytes;
	float feature[];
};

struct moe_feature_cache {
	pthread_mutex_t lock;
	struct entry *first;
	size_t nbytes, max_nbytes;
};

enum moe_err moe_feature_cache_new(struct moe_feature_cache **out, size_t max_nbytes, struct moe_diag *d)
{
	*out = calloc(1, sizeof **out);
	if (!*out)
		return moe_fail(d, MOE_ENOMEM, "out of memory");
	(*out)->max_nbytes = max_nbytes;
	pthread_mutex_init(&(*out)->lock, NULL);
	return MOE_OK;
}

void moe_feature_cache_free(struct moe_feature_cache *c)
{
	while (c && c->first) {
		struct entry *e = c->first;
		c->first = e->next;
		free(e);
	}
	if (c)
		pthread_mutex_destroy(&c->lock);
	free(c);
}

static XXH128_hash_t key_of(const struct moe_picture *p)
{
	return XXH3_128bits_withSeed(p->rgb, (size_t)p->width * p->height * 3, (uint64_t)p->width << 32 | p->height);
}

/* Copies the features of a known picture; false when it is not known. The entry comes to the front. */
static bool look_up(struct moe_feature_cache *c, XXH128_hash_t key, float **feature, struct moe_patch_grid *grid, struct moe_arena *a)
{
	bool found = false;

	pthread_mutex_lock(&c->lock);
	for (struct entry **at = &c->first, *e; (e = *at); at = &e->next) {
		if (!XXH128_isEqual(e->key, key))
			continue;
		*feature = moe_arena_get(a, e->nbytes, 1);
		found = *feature != NULL;
		if (found)
			memcpy(*feature, e->feature, e->nbytes);
		*grid = e->grid;
		*at = e->next;
		e->next = c->first;
		c->first = e;
		break;
	}
	pthread_mutex_unlock(&c->lock);
	return found;
}

/* Drops entries at the end of the list until it fits. */
static void shrink(struct moe_feature_cache *c)
{
	while (c->nbytes > c->max_nbytes) {
		struct entry **at = &c->first;
		while ((*at)->next)
			at = &(*at)->next;
		c->nbytes -= (*at)->nbytes;
		free(*at);
		*at = NULL;
	}
}

/* Without memory the features are simply not kept. */
static void keep(struct moe_feature_cache *c, XXH128_hash_t key, const float *feature, const struct moe_patch_grid *grid, size_t nbytes)
{
	struct entry *e = nbytes <= c->max_nbytes ? malloc(sizeof *e + nbytes) : NULL;

	if (!e)
		return;
	*e = (struct entry){.key = key, .grid = *grid, .nbytes = nbytes};
	memcpy(e->feature, feature, nbytes);
	pthread_mutex_lock(&c->lock);
	e->next = c->first;
	c->first = e;
	c->nbytes += nbytes;
	shrink(c);
	pthread_mutex_unlock(&c->lock);
}

enum moe_err moe_feature_cache_encode(struct moe_feature_cache *c, const struct moe_model *m, const struct moe_image_plan *plan, const struct moe_picture *p,
				      float **feature, struct moe_patch_grid *grid, const struct moe_compute *work, struct moe_diag *d)
{
	XXH128_hash_t key;

	if (!c)
		return moe_picture_encode(m, plan, p, feature, grid, work, d);
	key = key_of(p);
	if (look_up(c, key, feature, grid, work->scratch))
		return MOE_OK;
	MOE_TRY(moe_picture_encode(m, plan, p, feature, grid, work, d));
	keep(c, key, *feature, grid, grid->features * (size_t)m->spec->hidden * sizeof **feature);
	return MOE_OK;
}

/* Lists of experts, layer by layer. */
#ifndef MOE_GRAFT_GRAFT_LISTS_H
#define MOE_GRAFT_GRAFT_LISTS_H

#include "base/err.h"
#include "base/mem.h"

/* Groups of numbers: "3,5-6" is three of one, "0+1,2=4" two of two. */
struct moe_graft_list {
	struct moe_graft_group { size_t first, n; } *group;
	int64_t *number;                /* those of all groups */
	size_t n;                       /* groups */
};

/* Reads the lists (graft.h) for a model of so many layers: *out [layers], from the arena; a layer that no list names has none. `joint` is what stands between
 * the numbers of a group ('+', '='), 0 where each stands alone. */
enum moe_err moe_graft_lists(struct moe_graft_list **out, const char *const *list, size_t n_lists, size_t layers, char joint, struct moe_arena *a,
			     struct moe_diag *d) MOE_CHECK_RESULT;

#endif

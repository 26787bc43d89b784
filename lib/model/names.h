/* How the tensors of a family are called on disk, and how they lie there. A logical name ("q", "gate") has one or more patterns in the
 * family file; the first whose tensor the checkpoint has is the one.
 *
 *     PREFIX NAME [:AXES [:PART]]
 *
 * PREFIX and NAME may hold {L} (layer), {E} (expert) and {N} (a name that the part gives). AXES is the order on disk: oi [out][in] (the usual one),
 * io [in][out], i [in] with a single output, and eoi, eio, where one tensor has all experts. PART says that the tensor holds more than this matrix: I/N, the I-th (from 0) of N
 * equal runs of outputs, or I%N, outputs I, I + N, ... (interleaved). A vector has no axes, or o where it is a part. */
#ifndef MOE_MODEL_NAMES_H
#define MOE_MODEL_NAMES_H

#include "format/checkpoint.h"
#include "model/spec.h"

enum moe_axes { MOE_AXES_NONE, MOE_AXES_O, MOE_AXES_I, MOE_AXES_OI, MOE_AXES_IO, MOE_AXES_EOI, MOE_AXES_EIO };

/* What to fill in for {L}, {E} and {N}; -1 and NULL where there is none. */
struct moe_place {
	int64_t layer, expert;
	const char *name;
};

/* A pattern that was filled in. */
struct moe_where {
	char name[512];
	enum moe_axes axes;
	uint64_t part, parts;           /* 0 and 1: all of it */
	bool interleaved;
	const struct moe_tensor *tensor;        /* NULL: the checkpoint does not have it */
	size_t index;                   /* of the tensor in the checkpoint */
};

enum { MOE_MAX_GROUPS = 8 };

struct moe_names {
	const struct moe_spec *spec;
	const struct moe_checkpoint *weights;
	struct { const char *group, *prefix; json_t *names; } group[MOE_MAX_GROUPS];   /* the prefix under which the checkpoint has most of the group's names */
	size_t n_groups;
};

/* Reads `tensors` and `prefixes` of the spec's family file and chooses the prefixes. Borrows both arguments. */
enum moe_err moe_names_init(struct moe_names *n, const struct moe_spec *s, const struct moe_checkpoint *weights, struct moe_diag *d) MOE_CHECK_RESULT;

/* Is there any pattern for this logical name? */
bool moe_names_has(const struct moe_names *n, const char *logical);

/* The name that a logical name has at a place where the checkpoint need not have it: by the pattern of the tensor that it does have at `like`, and by the first
 * where there is none there either. */
enum moe_err moe_names_place(const struct moe_names *n, const char *logical, struct moe_place like, struct moe_place at, struct moe_where *out,
			     struct moe_diag *d) MOE_CHECK_RESULT;

/* Shape on disk of a matrix of o outputs and i inputs that lies there, with those that lie in the same tensor; its rank. */
unsigned moe_where_shape(const struct moe_where *w, uint64_t experts, uint64_t o, uint64_t i, uint64_t shape[3]);

/* Finds the tensor of a logical name; one that is missing fails with all names under which it was looked for. */
enum moe_err moe_names_find(const struct moe_names *n, const char *logical, struct moe_place at, struct moe_where *out, struct moe_diag *d) MOE_CHECK_RESULT;

#endif

package httpproxy

// A way is where the requests of one route go, on one loop.
type way struct {
	name   string    // of the route; "": the requests that no route is for
	to     *Upstream // nil: nowhere
	strips bool      // the path of the route is taken off the target

	requestEdits, answerEdits *edits

	counts counts
}

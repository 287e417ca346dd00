//go:build gss_link

package fakegss

// NoLoading says why a test of another library than the process has cannot run;
// empty where it can.
const NoLoading = "build tag gss_link: the library is the one that the program was linked with, and this opens another at run time"

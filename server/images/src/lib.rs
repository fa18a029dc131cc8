//! OCI images and Dockerfiles for the local server: pulling, layers, builds.

//! The operations of S3 that clients upload contexts with.

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, ETag,
    GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output,
    Object, PutObjectInput, PutObjectOutput, StreamingBlob, Timestamp, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};
use tokio::io::AsyncReadExt as _;

use super::objects::{self, Failure, Objects, PARTS, Stored, tag};

/// Objects in one answer.
const PAGE: i32 = 1000;
const PIECE: usize = 64 << 10;

pub(super) struct Storage(pub(super) Objects);

impl From<Failure> for S3Error {
    fn from(failure: Failure) -> Self {
        match &failure {
            Failure::TooLarge => s3_error!(EntityTooLarge, "{failure}"),
            Failure::Broken(_) => s3_error!(IncompleteBody, "{failure}"),
            Failure::NoUpload => s3_error!(NoSuchUpload, "{failure}"),
            Failure::NoPart(_) => s3_error!(InvalidPart, "{failure}"),
            Failure::Disk(_) => s3_error!(InternalError, "{failure}"),
        }
    }
}

impl Storage {
    fn file(&self, key: &str) -> S3Result<std::path::PathBuf> {
        let refused = || s3_error!(InvalidArgument, "The key may have letters, digits, and . _ - / only");
        self.0.file(key).ok_or_else(refused)
    }

    fn stat(&self, key: &str) -> S3Result<Stored> {
        self.file(key)?;
        self.0.stat(key).ok_or_else(|| s3_error!(NoSuchKey))
    }
}

fn etag(stored: &Stored) -> ETag {
    ETag::Strong(tag(stored))
}

fn length(stored: &Stored) -> Option<i64> {
    i64::try_from(stored.size).ok()
}

#[async_trait::async_trait]
impl S3 for Storage {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let PutObjectInput { key, body, .. } = request.input;
        let stored = self.0.put(self.file(&key)?, body).await?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(etag(&stored)), ..Default::default() }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let key = request.input.key;
        // Who finds it here does not upload it again.
        objects::touch(&self.file(&key)?);
        let stored = self.stat(&key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: length(&stored),
            e_tag: Some(etag(&stored)),
            last_modified: Some(Timestamp::from(stored.modified)),
            ..Default::default()
        }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let GetObjectInput { key, range, .. } = request.input;
        if range.is_some() {
            return Err(s3_error!(NotImplemented, "Ranges are not served: read the whole object"));
        }
        let stored = self.stat(&key)?;
        let file = tokio::fs::File::open(self.file(&key)?).await.map_err(Failure::Disk)?;
        let pieces = futures_util::stream::try_unfold(file, |mut file| async move {
            let mut piece = vec![0; PIECE];
            let read = file.read(&mut piece).await?;
            piece.truncate(read);
            Ok::<_, std::io::Error>((read > 0).then(|| (bytes::Bytes::from(piece), file)))
        });
        Ok(S3Response::new(GetObjectOutput {
            body: Some(StreamingBlob::wrap(pieces)),
            content_length: length(&stored),
            e_tag: Some(etag(&stored)),
            last_modified: Some(Timestamp::from(stored.modified)),
            ..Default::default()
        }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.0.delete(self.file(&request.input.key)?).await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let ListObjectsV2Input { bucket, prefix, max_keys, continuation_token, start_after, delimiter, .. } =
            request.input;
        if delimiter.is_some_and(|delimiter| !delimiter.is_empty()) {
            return Err(s3_error!(NotImplemented, "Lists have no delimiter: leave it out"));
        }
        let limit = max_keys.unwrap_or(PAGE).clamp(0, PAGE);
        let wanted = usize::try_from(limit).unwrap_or_default();
        let after = continuation_token.clone().or_else(|| start_after.clone()).unwrap_or_default();
        let mut found = self.0.list(prefix.as_deref().unwrap_or_default(), &after, wanted + 1);
        let more = found.len() > wanted;
        found.truncate(wanted);
        for path in found.iter().filter_map(|(key, _)| self.0.file(key)) {
            objects::touch(&path);
        }
        let next = more.then(|| found.last().map(|(key, _)| key.clone())).flatten();
        let contents: Vec<Object> = found
            .into_iter()
            .map(|(key, stored)| Object {
                key: Some(key),
                size: length(&stored),
                e_tag: Some(etag(&stored)),
                last_modified: Some(Timestamp::from(stored.modified)),
                ..Default::default()
            })
            .collect();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(bucket),
            prefix,
            max_keys: Some(limit),
            key_count: i32::try_from(contents.len()).ok(),
            continuation_token,
            start_after,
            is_truncated: Some(more),
            next_continuation_token: next,
            contents: Some(contents),
            ..Default::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let CreateMultipartUploadInput { bucket, key, .. } = request.input;
        self.file(&key)?;
        let upload_id = Some(self.0.begin(&key).await?);
        let (bucket, key) = (Some(bucket), Some(key));
        Ok(S3Response::new(CreateMultipartUploadOutput { bucket, key, upload_id, ..Default::default() }))
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let UploadPartInput { key, upload_id, part_number, body, .. } = request.input;
        if !(1..=PARTS).contains(&part_number) {
            return Err(s3_error!(InvalidArgument, "Part numbers are 1 to {PARTS}"));
        }
        let stored = self.0.put_part(&key, &upload_id, part_number, body).await?;
        Ok(S3Response::new(UploadPartOutput { e_tag: Some(etag(&stored)), ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let CompleteMultipartUploadInput { bucket, key, upload_id, multipart_upload, .. } = request.input;
        let parts = multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let parts: Vec<(i32, Option<String>)> = parts
            .into_iter()
            .map(|part| (part.part_number.unwrap_or_default(), part.e_tag.map(ETag::into_value)))
            .collect();
        if parts.is_empty() || !parts.is_sorted_by(|one, other| one.0 < other.0) {
            return Err(s3_error!(InvalidPartOrder));
        }
        let stored = self.0.complete(&key, &upload_id, parts, self.file(&key)?).await?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(bucket),
            key: Some(key),
            e_tag: Some(etag(&stored)),
            ..Default::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let AbortMultipartUploadInput { key, upload_id, .. } = request.input;
        self.0.abort(&key, &upload_id).await?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}
